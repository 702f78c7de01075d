"""The NCF paper's files: a hand-worked case, every rule broken once, and the real ml-1m."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from ncf.data.files import data_home
from ncf.protocol.given_split import NAME, find, load_ready_made

TRAIN = [
    "1\t4\t5\t100",  # users in any order
    "0\t2\t3\t30",
    "0\t0\t4.5\t10",
    "0\t1\t1\t30",  # as late as item 2, and a lower line
    "1\t0\t5\t200",
    "1\t3\t5\t150",
    "2\t5\t2\t7",  # one line, so that it stays in train
]
TEST = ["2\t0\t4\t99", "0\t3\t4\t40", "1\t1\t4\t5"]  # user 1's test item is their oldest
NEGATIVES = [
    "(2,0)\t1\t2\t3",
    "(0,3)\t3\t4\t5",  # its own positive
    "(1,1)\t6\t2\t6",  # a repeated one; item 6 is nowhere else
]


def write(
    folder: Path,
    train: list[str] = TRAIN,
    test: list[str] = TEST,
    negatives: list[str] = NEGATIVES,
    newline: str = "\n",
) -> Path:
    """Writes the three files of `toy` and returns that of train."""
    for suffix, lines in (
        ("train.rating", train),
        ("test.rating", test),
        ("test.negative", negatives),
    ):
        text = "".join(line + newline for line in lines)
        (folder / f"toy.{suffix}").write_bytes(text.encode())
    return folder / "toy.train.rating"


def replaced(lines: list[str], number: int, line: str) -> list[str]:
    """Returns the lines with another in the place of line `number`, from 1."""
    return [*lines[: number - 1], line, *lines[number:]]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_case_worked_by_hand(tmp_path: Path, newline: str) -> None:
    ready = load_ready_made(write(tmp_path, newline=newline))
    split, interactions = ready.split, ready.interactions
    assert split.train.indptr.tolist() == [0, 2, 4, 5]
    assert split.train.items.tolist() == [0, 2, 3, 4, 5]
    assert split.train.n_items == 7
    assert split.validation.users.tolist() == [0, 1]
    assert split.validation.items.tolist() == [1, 0]
    assert split.test.users.tolist() == [0, 1, 2]
    assert split.test.items.tolist() == [3, 1, 0]
    assert ready.test_candidates.tolist() == [[3, -1, 4, 5], [1, 6, 2, -1], [0, 1, 2, 3]]
    assert ready.test_candidates.dtype == np.int32
    assert ready.n_dropped == 2
    assert interactions.name == "ncf-toy"
    assert interactions.indptr.tolist() == [0, 4, 8, 10]
    assert interactions.items.tolist() == [0, 2, 1, 3, 1, 4, 3, 0, 5, 0]
    assert interactions.timestamps.tolist() == [10, 30, 30, 40, 5, 100, 150, 200, 7, 99]
    assert interactions.user_ids.tolist() == [0, 1, 2]
    assert interactions.item_ids.tolist() == list(range(7))  # item 6 too


def test_without_times_the_lower_line_is_later(tmp_path: Path) -> None:
    def timeless(lines: list[str]) -> list[str]:
        return [line.rpartition("\t")[0] for line in lines]

    ready = load_ready_made(write(tmp_path, timeless(TRAIN), timeless(TEST)))
    split, interactions = ready.split, ready.interactions
    assert split.validation.users.tolist() == [0, 1]
    assert split.validation.items.tolist() == [1, 3]
    assert split.test.items.tolist() == [3, 1, 0]
    assert interactions.items[interactions.indptr[1:] - 1].tolist() == [3, 1, 0]  # test is last


def test_a_repeated_line_counts_once_at_its_first_time(tmp_path: Path) -> None:
    once = load_ready_made(write(tmp_path))
    twice = load_ready_made(write(tmp_path, [*TRAIN, "0\t0\t4\t35"]))
    assert twice.interactions.fingerprint == once.interactions.fingerprint
    assert twice.split.validation.items.tolist() == once.split.validation.items.tolist()


def test_the_fingerprint_covers_train_and_test(tmp_path: Path) -> None:
    fingerprints = {
        load_ready_made(write(tmp_path, train, test)).interactions.fingerprint
        for train in (TRAIN, replaced(TRAIN, 7, "2\t6\t2\t7"))
        for test in (TEST, replaced(TEST, 1, "2\t0\t4\t98"))
    }
    assert len(fingerprints) == 4


def test_dropped_negatives_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ncf.protocol.given_split"):
        load_ready_made(write(tmp_path))
    assert "toy.test.negative: 2 negatives in 2 of 3 rows" in caplog.text
    caplog.clear()
    distinct = ["(2,0)\t1\t2\t3", "(0,3)\t6\t4\t5", "(1,1)\t6\t2\t5"]
    with caplog.at_level(logging.INFO, logger="ncf.protocol.given_split"):
        assert load_ready_made(write(tmp_path, negatives=distinct)).n_dropped == 0
    assert not caplog.text


BAD_TRAIN = {
    "0\t2\t3": r"toy\.train\.rating, line 2: expected 4 fields, as in line 1, got 3",
    "0\t2\t3\t30\t1": r"toy\.train\.rating, line 2: expected 4 fields, as in line 1, got 5",
    "": r"toy\.train\.rating, line 2: expected 4 fields, as in line 1, got 1",
    "-1\t2\t3\t30": r"line 2: field 1 must be an index from 0 to 999999999, got '-1'",
    "0\t-2\t3\t30": r"line 2: field 2 must be an index from 0 to 999999999, got '-2'",
    "0\t3000000000\t3\t30": r"line 2: field 2 must be an index .* got '3000000000'",
    "0\tx\t3\t30": r"line 2: field 2 must be an index .* got 'x'",
    "0\t\t3\t30": r"line 2: field 2 must be an index .* got ''",
    "0\t2\tgood\t30": r"line 2: field 3 must be a number, got 'good'",
    "0\t2\t3\t-30": r"line 2: field 4 must be seconds since 1970, got '-30'",
    "0\t2\t3\t3e1": r"line 2: field 4 must be seconds since 1970, got '3e1'",
    "0\t3\t3\t30": r"line 2: item 3 is the test item of user 0 .* remove the line",
    "3\t2\t3\t30": r"test\.rating: every user from 0 to 3 .* user 3 has none",
}


@pytest.mark.parametrize("line", BAD_TRAIN)
def test_a_line_of_train_that_breaks_a_rule(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match=BAD_TRAIN[line]):
        load_ready_made(write(tmp_path, replaced(TRAIN, 2, line)))


BAD_NEGATIVES = {
    "(0,3)\t3\t4": r"toy\.test\.negative, line 2: expected 4 fields, as in line 1, got 3",
    "(0,3)\t3\t4\t-5": r"line 2: field 4 must be an index .* got '-5'",
    "(0 3)\t3\t4\t5": r"line 2: field 1 must be \(user,item\), got '\(0 3\)'",
    "(0,2)\t3\t4\t5": r"line 2: must be for the pair .*, \(0,3\), got \(0,2\)",
}


@pytest.mark.parametrize("line", BAD_NEGATIVES)
def test_a_line_of_negatives_that_breaks_a_rule(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match=BAD_NEGATIVES[line]):
        load_ready_made(write(tmp_path, negatives=replaced(NEGATIVES, 2, line)))


def test_the_test_files_must_fit_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"negative, line 3: .*\(1,1\), got no line"):
        load_ready_made(write(tmp_path, negatives=NEGATIVES[:2]))
    with pytest.raises(ValueError, match=r"negative, line 4: .* no line, got \(1,1\)"):
        load_ready_made(write(tmp_path, negatives=[*NEGATIVES, NEGATIVES[2]]))
    with pytest.raises(ValueError, match=r"test\.rating: every user .* user 2 has none"):
        load_ready_made(write(tmp_path, test=TEST[1:], negatives=NEGATIVES[1:]))
    with pytest.raises(ValueError, match=r"test\.rating, line 4: a second test item of user 0"):
        load_ready_made(write(tmp_path, test=[*TEST, "0\t4\t1\t1"]))


def test_other_layouts_are_refused(tmp_path: Path) -> None:
    commas = [line.replace("\t", ",") for line in TRAIN]
    with pytest.raises(ValueError, match=r"line 1: .* separated by tabs, got 1 fields"):
        load_ready_made(write(tmp_path, commas))
    with pytest.raises(ValueError, match=r"line 1: expected \(user,item\) and negatives"):
        load_ready_made(write(tmp_path, negatives=["(2,0)", "(0,3)", "(1,1)"]))
    with pytest.raises(ValueError, match=r"toy\.test\.rating: the file is empty"):
        load_ready_made(write(tmp_path, test=[]))
    train_file = write(tmp_path)
    (tmp_path / "toy.test.negative").unlink()
    with pytest.raises(FileNotFoundError, match=r"toy\.test\.negative: no such file; a ready-made"):
        load_ready_made(train_file)


def test_what_counts_as_a_ready_made_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_file = write(tmp_path)
    assert find(str(train_file)) == train_file
    assert find("ml-1m") is None
    assert find(str(tmp_path / "toy.test.rating")) is None
    with pytest.raises(FileNotFoundError, match=r"none\.train\.rating: no such file; check"):
        find(str(tmp_path / "none.train.rating"))
    monkeypatch.setenv("NCF_DATA_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"ncf-ml-1m.*: no such file; .*NCF_DATA_HOME"):
        find(NAME)
    (tmp_path / NAME).mkdir()
    train_file.rename(tmp_path / NAME / "ml-1m.train.rating")
    assert find(NAME) == tmp_path / NAME / "ml-1m.train.rating"


@pytest.mark.skipif(not (data_home() / NAME).is_dir(), reason=f"{NAME} is not in the data home")
def test_the_papers_ml_1m() -> None:
    train_file = find(NAME)
    assert train_file is not None
    ready = load_ready_made(train_file)
    split, interactions = ready.split, ready.interactions
    assert (interactions.n_users, interactions.n_items) == (6040, 3706)
    assert interactions.n_interactions == 1_000_209
    assert len(split.train.items) == 1_000_209 - 2 * 6040
    assert split.test.users.tolist() == split.validation.users.tolist() == list(range(6040))
    assert ready.test_candidates.shape == (6040, 100)
    assert ready.n_dropped == 156
    assert np.count_nonzero((ready.test_candidates < 0).any(axis=1)) == 156
    # negatives are items that their users never touched
    whole = split.whole
    seen = whole.user_of.astype(np.int64) * whole.n_items + whole.items
    negatives = ready.test_candidates[:, 1:]
    pairs = np.arange(6040)[:, None] * whole.n_items + negatives
    assert not np.isin(pairs[negatives >= 0], seen).any()
