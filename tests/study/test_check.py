"""The check of a damaged journal: nothing wrong is believed, one changed bit is changed back."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ncf.__main__ import main
from ncf.study import journal
from ncf.study.check import check
from ncf.study.records import fault_of, is_sealed, line_of, with_one_bit_back
from ncf.study.storage import open_storage
from tests.study.test_journal import REPORTS, begin, open_study, outcome


def write(path: Path) -> bytes:
    """Writes a journal of two studies of three trials each; returns its content."""
    for name in ("shop", "café"):
        study = open_study(path, name)
        for number in range(3):
            journal.record_outcome(study, begin(study), outcome(number), REPORTS, 0.1 * number)
    backup_of(path).unlink()
    return path.read_bytes()


def backup_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.backup")


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def state_of(path: Path) -> list[Any]:
    """Returns all that a journal says."""
    storage = open_storage(str(path))
    return [
        (study.study_name, study.user_attrs, storage.get_all_trials(study._study_id))
        for study in storage.get_all_studies()
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "optuna.journal"


def test_optuna_reads_the_file_itself_and_its_own_lines_are_read(path: Path) -> None:
    write(path)
    own = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="shop", storage=own)
    assert [trial.value for trial in study.trials] == [0.0, 0.1, 0.2]
    study.set_user_attr("crc32", "01234567")  # of its own lines the most like a checksum
    study.optimize(lambda trial: trial.suggest_categorical("word", ["crc32", "01234567"]) == "", 1)
    again = open_study(path, "shop")
    assert again.user_attrs["crc32"] == "01234567"
    assert again.trials == study.trials
    sealed = [is_sealed(line) for line in path.read_bytes().splitlines(keepends=True)]
    assert sealed.count(False) == 4


def test_every_changed_bit_of_a_line_is_told_and_changed_back() -> None:
    line = line_of({"op_code": 8, "worker_id": "w", "trial_id": 0, "user_attr": {"x": 1.5}})
    for place in range(len(line) - 1):
        for bit in range(8):
            changed = flipped(line, place, bit)
            assert not is_sealed(changed)
            assert fault_of(changed)
            assert with_one_bit_back(changed) == line


def test_a_changed_value_is_told_where_the_name_of_its_checksum_changed_too() -> None:
    line = line_of({"op_code": 7, "worker_id": "w", "trial_id": 0, "intermediate_value": 0.25})
    value, seal = line.index(b"25"), line.index(b"crc32")
    for place in range(seal, len(line) - 3):
        for bit in range(8):
            assert fault_of(flipped(flipped(line, value, 0), place, bit))


def test_no_changed_bit_of_a_file_changes_a_study_and_the_check_mends_it(path: Path) -> None:
    content = write(path)
    before = state_of(path)
    rng = random.Random(0)
    ends = [place for place, byte in enumerate(content) if byte == ord("\n")]
    for place in [*rng.sample(range(len(content)), 40), *ends[:3], ends[-1]]:
        backup_of(path).unlink(missing_ok=True)
        path.write_bytes(flipped(content, place, bit := rng.randrange(8)))
        try:
            is_told = False
            assert state_of(path) == before, (place, bit)  # where the last line's end was changed
        except ValueError:
            is_told = True
        if is_told:
            backup_of(path).unlink(missing_ok=True)
            path.write_bytes(flipped(content, place, bit))
            assert check(path).left is None
            assert path.read_bytes() == content, (place, bit)


def test_the_damaged_record_is_named_and_the_file_as_it_was_is_kept(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = write(path)
    place = content.rindex(b'"outcome"')
    damaged = flipped(content, place + 3, 0)
    path.write_bytes(damaged)
    number = damaged[:place].count(b"\n") + 1
    with pytest.raises(ValueError, match=f"line {number} is damaged.*there is no copy from before"):
        open_storage(str(path))
    assert main(["check", "--storage", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"line {number} (trial 2 of study 'café', its note 'outcome')" in out
    assert "one bit was changed back" in out
    assert "shop (3), café (3)" in out
    assert path.read_bytes() == content
    assert path.with_name("optuna.journal.before-check").read_bytes() == damaged


def test_what_no_checksum_mends_is_taken_from_the_copy_of_the_last_start(path: Path) -> None:
    content = write(path)
    open_storage(str(path))
    begin(open_study(path, "shop"))
    longer = path.read_bytes()
    middle = len(content) // 2
    backup_of(path).write_bytes(content)  # as the start before has left it
    path.write_bytes(longer[:middle] + bytes(300) + longer[middle + 300 :])
    with pytest.raises(ValueError, match=r"optuna.journal.backup is a copy from before"):
        open_storage(str(path))
    health = check(path)
    assert {fault.mended for fault in health.faults} == {"taken from the copy"}
    assert path.read_bytes() == longer


def test_what_nothing_mends_is_left_until_it_is_cut_off(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = write(path)
    place = content.index(b'"study_id":1')
    damaged = content[:place] + b"\0" * 9 + content[place + 9 :]
    path.write_bytes(damaged)
    assert main(["check", "--storage", str(path)]) == 2
    assert "shop (3)" in capsys.readouterr().err
    assert path.read_bytes() == damaged
    assert main(["check", "--storage", str(path), "--cut"]) == 0
    assert path.read_bytes() == content[: content.rindex(b"\n", 0, place) + 1]
    assert len(open_study(path, "shop").trials) == 3


def test_a_line_of_an_older_version_that_optuna_cannot_follow_is_named(path: Path) -> None:
    lines = [json.loads(line) for line in write(path).splitlines()]
    for line in lines:
        del line["crc32"]
    lines[5]["op_code"] = 0
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    with pytest.raises(ValueError, match="line 6 is damaged"):
        open_storage(str(path))
    left = check(path).left
    assert left is not None
    assert (left.line, left.reason) == (6, "Optuna cannot follow it: KeyError('study_name')")


def test_a_search_notices_that_its_journal_was_replaced(path: Path) -> None:
    content = write(path)
    study = open_study(path, "shop")
    path.write_bytes(flipped(content, len(content) // 2, 1))
    check(path)
    with pytest.raises(ValueError, match="it was replaced while this search went on"):
        study.set_user_attr("note", 1)
    assert path.read_bytes() == content


def test_a_journal_that_was_replaced_leaves_the_other_copy(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = write(path)
    open_storage(str(path))
    path.write_bytes(content[: content.index(b"\n", len(content) // 2) + 1])
    open_storage(str(path))
    (other,) = path.parent.glob("optuna.journal.backup-*")
    assert other.read_bytes() == content
    assert str(other) in caplog.text


def test_no_journal_is_no_traceback(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--storage", str(path)]) == 2
    assert "no such journal" in capsys.readouterr().err


def cut_short(content: bytes) -> bytes:
    return content[:-60]


def shortened(content: bytes) -> bytes:
    return content[: content.rfind(b"\n", 0, len(content) // 2) + 1]


def emptied(content: bytes) -> bytes:
    return b""


def with_a_hole(content: bytes) -> bytes:
    return content[:3000] + content[3300:]


@pytest.mark.parametrize("damage", [cut_short, shortened, emptied, with_a_hole])
def test_what_a_journal_has_lost_is_taken_from_its_copy(path: Path, damage: Any) -> None:
    content = write(path)
    backup_of(path).write_bytes(content)
    path.write_bytes(damage(content))
    assert main(["check", "--storage", str(path)]) == 0
    assert path.read_bytes() == content


def test_half_a_last_line_is_dropped_where_there_is_no_copy(path: Path) -> None:
    content = write(path)
    path.write_bytes(content[:-60])
    assert main(["check", "--storage", str(path)]) == 0
    assert path.read_bytes() == content[: content.rfind(b"\n", 0, -1) + 1]


def test_lines_that_moved_are_told(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = write(path)
    backup_of(path).write_bytes(content)
    lines = content.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-2], lines[-1], lines[-2]]))
    assert main(["check", "--storage", str(path)]) == 2
    assert "it does not begin as" in capsys.readouterr().err
