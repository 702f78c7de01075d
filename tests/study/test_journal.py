"""The record on disk: what it keeps, what a crash may do to it, and who may write it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread, Timer, current_thread, main_thread
from typing import Any, Literal

import optuna
import pytest
from filelock import FileLock
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    distribution_to_json,
)
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from ncf.study import journal
from ncf.study.identity import recorded_lag
from ncf.study.storage import lock_record, lock_study, open_storage
from ncf.trials.messages import EpochReport, Failure, Outcome

IDENTITY: dict[str, Any] = {"data": "toy", "seed": 0, "space": {"x": ["..."]}, "prune": True}
REPORTS = [
    EpochReport(0, epoch, 1.7e9 + epoch, 0.7 / epoch, 0.01, 500, {"ndcg_10": 0.1 * epoch})
    for epoch in (1, 2, 3)
]


def outcome(number: int, pruned: bool = False) -> Outcome:
    return Outcome(number, pruned, 3, 2, {"ndcg_10": 0.2}, {"ndcg_10": 0.05}, 1.25, 1.7e9)


def open_study(path: Path, name: str = "toy") -> optuna.Study:
    return journal.open_study(open_storage(str(path)), name, IDENTITY)


def begin(study: optuna.Study) -> optuna.Trial:
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params={"x": 0.5},
            distributions={"x": FloatDistribution(0, 1)},
        )
    )
    return optuna.Trial(study, study.get_trials()[-1]._trial_id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "optuna.journal"


# The lag


def lag_of(storage: BaseStorage, name: str) -> int | None:
    return recorded_lag(journal.identity_of(storage, name))


def test_the_lag_of_a_study_is_known_before_it_is_opened(path: Path) -> None:
    storage = open_storage(str(path))
    assert lag_of(storage, "toy") is None
    journal.open_study(storage, "toy", {**IDENTITY, "lag": 8})
    journal.open_study(storage, "other", {**IDENTITY, "lag": 24})
    storage.create_new_study([StudyDirection.MAXIMIZE], "by another program")
    again = open_storage(str(path))
    lags = [lag_of(again, name) for name in ("toy", "other", "by another program")]
    assert lags == [8, 24, None]


# Records


def test_what_was_recorded_comes_back_from_the_file(path: Path) -> None:
    study = open_study(path)
    trained, pruned, failed = (begin(study) for _ in range(3))
    size = path.stat().st_size
    for report in REPORTS:
        trained.report(report.metrics["ndcg_10"], report.epoch)
    assert path.stat().st_size == size  # they wait for the trial's end
    journal.record_outcome(study, trained, outcome(0), REPORTS, 0.2)
    journal.record_outcome(study, pruned, outcome(1, pruned=True), REPORTS[:1], 0.1)
    failure = Failure(2, "ValueError: no", "Traceback ...")
    journal.record_failure(study, failed, failure, [])

    first, second, third = open_study(path).get_trials()
    assert (first.state, first.value) == (TrialState.COMPLETE, 0.2)
    assert first.params == {"x": 0.5}
    assert first.intermediate_values == {1: 0.1, 2: 0.2, 3: pytest.approx(0.3)}
    assert journal.reports_of(first) == REPORTS
    assert journal.outcome_of(first) == outcome(0)
    assert second.state == TrialState.PRUNED
    assert journal.outcome_of(second) == outcome(1, pruned=True)
    assert third.state == TrialState.FAIL
    assert journal.failure_of(third) == failure
    assert journal.reports_of(third) == []
    assert [journal.is_trained(trial) for trial in (first, second, third)] == [True, True, False]


def test_a_running_trial_is_still_there_after_a_kill_and_ends_in_place(path: Path) -> None:
    study = open_study(path)
    begin(study).report(0.1, 1)

    again = open_study(path)
    (left,) = again.get_trials()
    assert left.state == TrialState.RUNNING
    trial = optuna.Trial(again, left._trial_id)
    journal.record_outcome(again, trial, outcome(0), REPORTS, 0.2)
    (ended,) = open_study(path).get_trials()
    assert (ended.number, ended.state, ended.value) == (0, TrialState.COMPLETE, 0.2)


def test_the_best_come_first_and_the_earlier_of_equals() -> None:
    values = [0.1, 0.3, None, 0.0, 0.3, -0.2]
    study = optuna.create_study(direction="maximize")
    for value in values:
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        study.add_trial(create_trial(state=state, value=value))
    pruned = create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.9})
    study.add_trial(pruned)
    ranking = journal.best_first(study.get_trials())
    assert [trial.number for trial in ranking] == [1, 4, 0, 3, 5]
    assert journal.best_first([]) == []


# Identity


def test_a_study_is_continued_only_with_the_settings_it_was_begun_with(path: Path) -> None:
    study = open_study(path)
    assert open_study(path).user_attrs["identity"] == IDENTITY == study.user_attrs["identity"]
    changed = {**IDENTITY, "seed": 7, "space": {"x": ["other"]}}
    with pytest.raises(ValueError, match="study 'toy' was begun with other settings") as raised:
        journal.open_study(open_storage(str(path)), "toy", changed)
    message = str(raised.value)
    assert "seed was 0, now 7" in message
    assert "space: x was ['...'], now ['other']" in message
    assert "data" not in message.split("settings:")[1].split(". Use")[0]  # which did not change
    assert "--study NAME" in message


def test_of_a_changed_space_only_what_changed_is_told(path: Path) -> None:
    def space(**distributions: BaseDistribution) -> dict[str, Any]:
        texts = {name: [distribution_to_json(one)] for name, one in distributions.items()}
        return {**IDENTITY, "space": texts}

    same, storage = FloatDistribution(0, 1), open_storage(str(path))
    rate, dim = FloatDistribution(0.01, 0.1, log=True), CategoricalDistribution([8, 16])
    journal.open_study(storage, "toy", space(same=same, rate=rate, dim=dim, old=same))
    rate, dim = FloatDistribution(0.01, 0.5, log=True), CategoricalDistribution([8, 32])
    with pytest.raises(ValueError, match="with other settings") as raised:
        journal.open_study(storage, "toy", space(same=same, rate=rate, dim=dim))
    assert str(raised.value).startswith(
        "study 'toy' was begun with other settings: space: dim was one of 8, 16, now one of 8, 32; "
        "space: old was 0.0 to 1.0, now None; "
        "space: rate was 0.01 to 0.1, log, now 0.01 to 0.5, log. Use those again"
    )


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_study_of_another_program_is_refused_and_left_alone(
    path: Path, direction: Literal["maximize", "minimize"]
) -> None:
    storage = open_storage(str(path))
    foreign = optuna.create_study(storage=storage, study_name="toy", direction=direction)
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    with pytest.raises(ValueError, match="a study 'toy' that another program has made"):
        journal.open_study(storage, "toy", IDENTITY)
    assert foreign.user_attrs == {}


def test_a_study_whose_beginning_was_interrupted_goes_on(path: Path) -> None:
    storage = open_storage(str(path))
    optuna.create_study(storage=storage, study_name="toy", direction="maximize")
    assert journal.open_study(storage, "toy", IDENTITY).user_attrs["identity"] == IDENTITY


def test_a_setting_that_came_or_went_is_a_difference(path: Path) -> None:
    open_study(path)
    without = {key: value for key, value in IDENTITY.items() if key != "prune"}
    with pytest.raises(ValueError, match="prune was True, now None"):
        journal.open_study(open_storage(str(path)), "toy", without)
    with pytest.raises(ValueError, match="k was None, now 5"):
        journal.open_study(open_storage(str(path)), "toy", {**IDENTITY, "k": 5})


def test_studies_of_other_names_share_the_file(path: Path) -> None:
    begin(open_study(path, "one"))
    assert open_study(path, "two").get_trials() == []
    assert len(open_study(path, "one").get_trials()) == 1


# Crashes


@pytest.mark.parametrize("torn", [b"{", b'{"op_code": 4, "worker_id": "', b"\xff\x00"])
def test_a_torn_last_line_is_dropped(
    path: Path, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    study = open_study(path)
    journal.record_outcome(study, begin(study), outcome(0), REPORTS, 0.2)
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(torn)

    again = open_study(path)
    assert path.read_bytes()[: len(whole)] == whole
    assert "dropped its last line" in caplog.text
    begin(again)  # it can be written
    first, second = open_study(path).get_trials()
    assert first.value == 0.2
    assert second.state == TrialState.RUNNING


def test_a_study_goes_on_when_another_was_killed_while_it_wrote(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = open_study(path, "one"), open_study(path, "two")
    begin(one)
    begin(two)
    with path.open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"a":"')
    begin(one)  # over the rest of the line
    begin(two)
    assert caplog.text.count("dropped its last line") == 1
    with path.open("ab") as file:
        file.write(b'{"op_code":8,"worker')
    assert len(two.trials) == 2  # to read is enough
    assert path.read_bytes().endswith(b"}\n")
    assert [len(open_study(path, name).trials) for name in ("one", "two")] == [2, 2]


def test_a_whole_record_without_the_end_of_its_line_is_kept(path: Path) -> None:
    begin(open_study(path))
    content = path.read_bytes()
    for tail in (b"", b"\x00"):
        path.write_bytes(content[:-1] + tail)
        open_storage(str(path))
        assert path.read_bytes() == content


def test_what_a_full_disk_takes_back_is_never_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = open_study(path, "one"), open_study(path, "two")
    begin(one)
    fsync, sleep, seen, reader = os.fsync, time.sleep, list[int](), list[Thread]()

    def full(descriptor: int) -> None:  # all is written, and is taken back in a moment
        reader.append(Thread(target=lambda: seen.append(len(two.trials))))
        reader[0].start()
        reader[0].join(timeout=0.2)  # it waits for the lock
        monkeypatch.setattr(os, "fsync", fsync)
        raise OSError(errno.ENOSPC, "No space left on device")

    def nap(seconds: float) -> None:
        if current_thread() is main_thread():
            reader[0].join()
            begin(two)  # into the same place
        else:  # the reader, while it waits for the lock
            sleep(seconds)

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr("ncf.data.files.time.sleep", nap)
    begin(one)
    assert seen in ([0], [1])
    assert [len(study.trials) for study in (one, two)] == [2, 1]
    again = [open_study(path, name) for name in ("one", "two")]
    assert [len(study.trials) for study in again] == [2, 1]


def test_a_record_that_could_not_be_written_is_not_written_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(path)

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output error"):
            begin(study)
    begin(study)
    assert len(study.trials) == 1


def test_a_lock_that_is_held_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study = open_study(path)
    monkeypatch.setattr("ncf.data.locks.PATIENCE", 0.01)
    lock = FileLock(f"{path}.filelock")
    lock.acquire()
    writer = Thread(target=begin, args=(study,))
    writer.start()
    while "waiting for another process" not in caplog.text:
        writer.join(timeout=0.01)
    lock.release()
    writer.join()
    assert f"{path}.filelock: waiting for another process" in caplog.text
    assert len(study.trials) == 1


def test_a_line_that_another_process_is_writing_is_not_torn(path: Path) -> None:
    begin(open_study(path))
    opened = Thread(target=open_storage, args=(str(path),))
    with FileLock(f"{path}.filelock"), path.open("ab", buffering=0) as file:
        file.write(b'{"op_code": 0, "worker_id": "w", "study_name": "half", ')
        opened.start()
        opened.join(timeout=0.3)  # it waits for the lock
        file.write(b'"directions": [2]}\n')
    opened.join()
    assert path.read_bytes().endswith(b'"study_name": "half", "directions": [2]}\n')


def test_a_full_disk_is_waited_for_and_nothing_is_there_in_part_or_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study = open_study(path)
    trial = begin(study)
    before = path.read_bytes()
    fsync, naps = os.fsync, []

    def full(descriptor: int) -> None:  # the disk is, from here on: all was written, or some
        raise OSError(errno.ENOSPC, "No space left on device")

    def nap(seconds: float) -> None:
        assert path.read_bytes() == before
        naps.append(seconds)
        if len(naps) == 3:  # somebody has made room
            monkeypatch.setattr(os, "fsync", fsync)

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr("ncf.data.files.time.sleep", nap)
    journal.record_outcome(study, trial, outcome(0), REPORTS, 0.2)
    assert naps == [0.5, 1.0, 2.0]
    assert caplog.text.count("the disk is full; waiting for room") == 1
    (ended,) = open_study(path).get_trials()
    assert (ended.value, journal.outcome_of(ended)) == (0.2, outcome(0))
    assert path.read_text().count('"outcome"') == 1


def test_a_trial_waits_for_the_disk_at_its_beginning_and_at_its_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(path)
    fsync, n_waits = os.fsync, 0

    def counted(descriptor: int) -> None:
        nonlocal n_waits
        n_waits += 1
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    trial = begin(study)
    assert n_waits == 1
    for report in REPORTS:
        trial.report(report.metrics["ndcg_10"], report.epoch)
    journal.record_outcome(study, trial, outcome(0), REPORTS, 0.2)
    assert n_waits == 2
    assert study.get_trials() == open_study(path).get_trials()


def test_another_error_of_the_disk_is_raised(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(path)

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        study.set_user_attr("note", "lost")


def test_a_file_that_is_one_torn_line_is_begun_anew(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"op_code"')
    begin(open_study(path))
    assert len(open_study(path).get_trials()) == 1


@pytest.mark.parametrize("content", ["user,item\n1,2", '{"user": 1}', "\n\n"])
def test_another_file_is_refused_and_left_alone(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ValueError, match="not an Optuna journal; give another file"):
        open_storage(str(path))
    assert path.read_text() == content


@pytest.mark.parametrize("old", ['"op_code"', '"study_id":', '":', "{"])
def test_a_line_that_was_changed_is_told(path: Path, old: str) -> None:
    open_study(path)
    head, _, tail = path.read_text().rpartition(old)
    path.write_text(head + "\x00" + tail + "\n")
    with pytest.raises(ValueError, match=r"line \d is damaged \(.*ncf check --storage"):
        open_storage(str(path))


def test_a_whole_file_is_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(open_study(path))
    before = path.read_bytes()
    open_storage(str(path))
    assert path.read_bytes() == before
    assert "dropped" not in caplog.text


def test_a_relative_path_survives_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage("results/optuna.journal")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    journal.open_study(storage, "toy", IDENTITY)
    assert open_study(tmp_path / "results" / "optuna.journal").user_attrs["identity"] == IDENTITY


# Who may write


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip


def test_a_second_process_is_refused_and_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    folder.mkdir()
    take = (
        "import os, sys; from pathlib import Path; from ncf.study.storage import lock_study\n"
        "lock = lock_study(Path(sys.argv[1])); print('taken', flush=True); os._exit(9)"
    )
    with lock_study(folder):
        refused = run_python(take, str(folder))
        assert refused.returncode == 1
        assert "RuntimeError: study 'toy' is being searched by another process" in refused.stderr
    died = run_python(take, str(folder))  # without letting go of it
    assert (died.returncode, died.stdout) == (9, "taken\n")
    with lock_study(folder) as lock:
        assert lock.is_locked


def test_a_look_at_the_lock_does_not_refuse_a_search(tmp_path: Path) -> None:
    """As `status` and `stop` look, whether somebody has it."""
    look = FileLock(tmp_path / "lock", thread_local=False)
    look.acquire()
    Timer(0.05, look.release).start()
    with lock_study(tmp_path) as lock:
        assert lock.is_locked


def test_another_study_is_not_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with lock_study(tmp_path / "one"), lock_study(tmp_path / "two") as lock:
        assert lock.is_locked


def test_a_study_of_a_journal_that_two_folders_share_has_one_search(tmp_path: Path) -> None:
    location, link = tmp_path / "optuna.journal", tmp_path / "link"
    open_study(location)
    link.symlink_to(location)
    with lock_record(str(location), "toy"):
        with pytest.raises(RuntimeError, match=f"study 'toy' of {location} is being searched"):
            lock_record(str(link), "toy")
        with lock_record(str(location), "other") as lock:
            assert lock.is_locked
    with lock_record(str(link), "toy") as lock:
        assert lock.is_locked
