"""Lists of every user against `Recommender.recommend`, which is tested against the formula."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ncf.commands import lists
from ncf.commands.lists import check_file, write_lists
from ncf.protocol.splitting import history_of
from ncf.serving.catalogue import Catalogue
from ncf.serving.factors import Factors
from ncf.serving.recommender import Recommender

N_USERS, N_ITEMS = 50, 30


def recommender(text_ids: bool, titles: bool) -> Recommender:
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(0, [N_USERS, N_ITEMS], (500, 2), dtype=np.int32), axis=0)
    pairs = pairs[pairs[:, 0] != 7]  # who has seen nothing
    pairs = np.concatenate([pairs, [(3, item) for item in range(N_ITEMS)]], dtype=np.int32)
    pairs = np.unique(pairs, axis=0)  # user 3 has seen all
    seen = history_of(pairs[:, 0], pairs[:, 1], N_USERS, N_ITEMS)
    user_ids, item_ids = np.arange(N_USERS) * 3, np.arange(N_ITEMS) + 100
    of_users, of_items = (
        rng.integers(-3, 4, (n, 4)).astype(np.float32) for n in (N_USERS, N_ITEMS)
    )  # ties
    return Recommender(
        Factors(of_users, of_items, np.zeros(N_ITEMS, np.float32)),
        Catalogue(
            np.array([f"u{n:04}" for n in user_ids]) if text_ids else user_ids,
            np.array([f"i{n:04}" for n in item_ids]) if text_ids else item_ids,
            np.array([f"Title, {n}" for n in item_ids]) if titles else None,
            seen.indptr,
            seen.items,
        ),
    )


@pytest.mark.parametrize("name", ["lists.parquet", "lists.csv"])
@pytest.mark.parametrize("text_ids", [False, True])
@pytest.mark.parametrize("include_seen", [False, True])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_lists_are_the_recommenders(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text_ids: bool,
    include_seen: bool,
    k: int,
) -> None:
    monkeypatch.setattr(lists, "BLOCK_BYTES", 4 * N_ITEMS * 7)  # several blocks, a short last
    monkeypatch.setattr(lists, "FEW", 3)  # k=1 inserts, the others sort
    model, file = recommender(text_ids, titles=text_ids), tmp_path / name
    assert list(write_lists(model, file, k, include_seen)) == [7] * 7 + [1]
    read = pd.read_parquet if name.endswith("parquet") else pd.read_csv
    found = read(file)
    expected = [
        (user_id, rank, *row)
        for user_id, answer in zip(
            model.catalogue.user_ids.tolist(),
            model.recommend(model.catalogue.user_ids.tolist(), k, include_seen),
            strict=True,
        )
        for rank, row in enumerate(zip(answer.item_ids, answer.scores, strict=True), start=1)
    ]
    columns = ["user_id", "rank", "item_id", "score"]
    pd.testing.assert_frame_equal(
        found[columns], pd.DataFrame(expected, columns=columns), check_dtype=False, atol=1e-6
    )
    assert ("title" in found) == text_ids
    if text_ids:
        assert found["title"][0] == "Title, " + found["item_id"][0].removeprefix("i0")


def test_what_is_not_scored_is_in_no_list(tmp_path: Path) -> None:
    model = recommender(text_ids=False, titles=False)
    model.scorer.arrays()["item_factors"][5] = np.nan
    list(write_lists(model, tmp_path / "lists.csv", N_ITEMS))
    lists = pd.read_csv(tmp_path / "lists.csv")
    assert 105 not in set(lists["item_id"])
    assert 3 * 3 not in set(lists["user_id"])  # who has seen all


def test_the_file_is_whole_or_absent(tmp_path: Path) -> None:
    file = tmp_path / "lists.parquet"
    file.write_text("of last week")
    blocks = write_lists(recommender(text_ids=False, titles=False), file, 3)
    next(blocks)
    with contextlib.suppress(AttributeError, OSError):  # not every system has nameless files
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY))
        # a process that is killed now leaves nothing behind
        assert [path.name for path in tmp_path.iterdir()] == ["lists.parquet"]
    blocks.close()  # as Ctrl-C does
    assert [path.name for path in tmp_path.iterdir()] == ["lists.parquet"]
    assert file.read_text() == "of last week"


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    blocks = write_lists(recommender(text_ids=False, titles=False), tmp_path / "lists.csv", 3)
    next(blocks)
    with pytest.raises(OSError, match=r"lists\.csv: cannot be written: no room"):
        blocks.throw(OSError("no room"))
    assert not list(tmp_path.iterdir())


def test_lists_are_written_where_a_file_must_have_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = recommender(text_ids=False, titles=False)
    assert sum(write_lists(model, tmp_path / "nameless.csv", 3)) == N_USERS
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    for _ in range(2):  # it may be there already
        assert sum(write_lists(model, tmp_path / "named.csv", 3)) == N_USERS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["named.csv", "nameless.csv"]
    assert (tmp_path / "named.csv").read_text() == (tmp_path / "nameless.csv").read_text()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.parquet or \.csv"):
        check_file(tmp_path / "lists.json")
    with pytest.raises(FileNotFoundError, match="no folder"):
        check_file(tmp_path / "absent" / "lists.csv")
    with pytest.raises(ValueError, match="`k >= 1` must hold"):
        list(write_lists(recommender(text_ids=False, titles=False), tmp_path / "lists.csv", 0))
