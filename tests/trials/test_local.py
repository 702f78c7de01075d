"""Worker processes: real ones, that compute what `trial.run` computes, die and are replaced."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.metrics import Objective
from ncf.protocol.seeds import Purpose, spawn
from ncf.trials import trial
from ncf.trials.data import TrialData
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import EpochReport, Failure, Outcome, Refit, Setback, Task
from tests.conftest import PROJECT

SGD = Hyperparameters(
    optimizer="sgd", initialization="xavier", embedding_dim=8, learning_rate=0.05, n_negatives=2
)
ADAM = replace(SGD, optimizer="adam", learning_rate=0.02, batch_size=256)
DEADLINE = 120.0  # seconds; for a test that hangs, not for a slow machine

Event = EpochReport | Outcome | Failure | Setback


@pytest.fixture(scope="module")
def data_folder(trial_data: TrialData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    trial_data.save(folder)
    return folder


@pytest.fixture(scope="module")
def workers(data_folder: Path) -> Iterator[LocalWorkers]:
    """Two workers that every test leaves idle."""
    with LocalWorkers(2, data_folder, 2) as started:
        pids = started.pids
        assert len(set(pids)) == 2
        yield started
        assert started.pids == pids  # errors of trials ended none
    assert not any(map(is_running, pids))  # closing ends idle workers


def task_of(number: int, folder: Path, epochs: int = 3, **changes: Any) -> Task:
    task = Task(
        number=number,
        setting=SGD,
        seed=spawn(3, Purpose.TRIAL, number),
        epochs=epochs,
        patience=epochs,
        objective=Objective(),
        device="cpu",
        stop_below=(-math.inf,) * epochs,
        weights=folder / f"trial-{number}.safetensors",
    )
    return replace(task, **changes)


def endless(number: int, folder: Path) -> Task:
    return task_of(number, folder, epochs=1_000_000)


def receive(workers: LocalWorkers) -> list[Event]:
    """Returns the next events, at least one."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if events := workers.receive(timeout=1.0):
            return events
    raise TimeoutError("the workers sent nothing")


def until_idle(workers: LocalWorkers) -> list[Event]:
    """Returns all events until no worker has a task."""
    events: list[Event] = []
    while workers.n_idle < len(workers.pids):
        events += receive(workers)
    return events


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def without_times(event: Event) -> Event:
    if isinstance(event, EpochReport):
        return replace(event, time=0.0, seconds=0.0)
    if isinstance(event, Outcome):
        return replace(event, time=0.0, seconds=0.0, processor_seconds=0.0)
    return event


def test_a_worker_computes_what_this_process_computes(
    workers: LocalWorkers, trial_data: TrialData, tmp_path: Path
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    settings = [SGD, ADAM, replace(SGD, initialization="spectral")]
    events: list[Event] = []
    for number, setting in enumerate(settings):
        while not workers.n_idle:
            events += receive(workers)
        workers.submit(task_of(number, there, setting=setting))
    events += until_idle(workers)
    for number, setting in enumerate(settings):
        task = task_of(number, here, setting=setting)
        expected = [without_times(event) for event in trial.run(task, trial_data)]
        received = [without_times(event) for event in events if event.number == number]
        assert received == expected
        assert isinstance(received[-1], Outcome)
        assert task.weights is not None
        weights = there / task.weights.name
        assert weights.read_bytes() == task.weights.read_bytes()
    refits = [Refit(4, SGD, spawn(3, Purpose.REFIT), 3, "cpu", f / "refit") for f in (there, here)]
    workers.submit(refits[0])
    assert [*map(without_times, until_idle(workers))] == [
        without_times(trial.refit(refits[1], trial_data))
    ]
    assert (there / "refit").read_bytes() == (here / "refit").read_bytes()


def test_waiting_ends_with_the_timeout(workers: LocalWorkers) -> None:
    assert workers.n_idle == 2
    assert workers.receive(timeout=0.0) == []


def test_an_error_ends_the_trial_and_not_its_worker(workers: LocalWorkers, tmp_path: Path) -> None:
    pids = workers.pids
    diverging = replace(SGD, learning_rate=1e20)
    workers.submit(task_of(7, tmp_path, setting=diverging))
    workers.submit(task_of(8, tmp_path / "missing"))  # its weights cannot be written
    events = until_idle(workers)
    ends = {event.number: event for event in events if not isinstance(event, EpochReport)}
    failure, setback = ends[7], ends[8]
    assert isinstance(failure, Failure)
    assert failure.reason.startswith("FloatingPointError: diverged: the loss of epoch")
    assert "FloatingPointError" in failure.traceback
    assert "trial.py" in failure.traceback
    assert not failure.died
    assert isinstance(setback, Setback)  # which says nothing of the setting
    assert "No such file or directory" in setback.reason
    assert workers.pids == pids
    workers.submit(task_of(9, tmp_path))
    assert isinstance(until_idle(workers)[-1], Outcome)


class Answer:
    """Unpickles, in the worker, to what a Python expression is there."""

    def __init__(self, expression: str) -> None:
        self._expression = expression

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (self._expression,)


def ask(workers: LocalWorkers, folder: Path, expression: str) -> Any:
    """Returns what an expression is in a worker: as its trial's number, it comes back."""
    workers.submit(replace(task_of(0, folder), number=Answer(expression), seed=None))  # type: ignore[arg-type]
    (failure,) = until_idle(workers)
    return failure.number


def test_workers_import_neither_optuna_nor_mlflow(workers: LocalWorkers, tmp_path: Path) -> None:
    modules = ask(workers, tmp_path, "list(__import__('sys').modules)")
    assert "ncf.trials.trial" in modules
    assert not {"optuna", "mlflow", "sqlalchemy", "pyarrow"} & set(modules)


def test_workers_use_one_thread_each(workers: LocalWorkers, tmp_path: Path) -> None:
    assert ask(workers, tmp_path, "__import__('torch').get_num_threads()") == 1
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    limits = ask(workers, tmp_path, f"[__import__('os').environ.get(n) for n in {names}]")
    assert limits == ["1", "1", "1"]
    assert "MKL_NUM_THREADS" not in os.environ  # in the workers alone


@pytest.mark.slow
def test_a_killed_worker_is_a_failure_and_is_replaced(data_folder: Path, tmp_path: Path) -> None:
    with LocalWorkers(1, data_folder) as workers:
        workers.submit(endless(4, tmp_path))
        (report, *_) = receive(workers)  # it is in the middle of the trial
        assert isinstance(report, EpochReport)
        (killed,) = workers.pids
        os.kill(killed, signal.SIGKILL)
        events = until_idle(workers)
        assert [event for event in events if not isinstance(event, EpochReport)] == [
            Failure(4, "worker died: signal SIGKILL (out of memory?)", died=True)
        ]
        assert not is_running(killed)
        assert list(tmp_path.iterdir()) == []  # no weights, whole or in part

        workers.submit(task_of(4, tmp_path))
        assert isinstance(until_idle(workers)[-1], Outcome)
        (replacement,) = workers.pids
        assert is_running(replacement)
        workers.submit(endless(5, tmp_path))
    assert not is_running(replacement)  # closing ends a busy worker


@pytest.mark.slow
def test_a_stopped_worker_is_told_of_and_ended_and_its_task_is_free(
    data_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with LocalWorkers(2, data_folder, patience=3.0) as workers:
        for number in (4, 5):
            workers.submit(endless(number, tmp_path))
        begun: set[int] = set()
        while begun < {4, 5}:
            begun |= {event.number for event in receive(workers)}
        stopped = workers.pids[0]
        os.kill(stopped, signal.SIGSTOP)
        events: list[Event] = []
        while not any(isinstance(event, Setback) for event in events):
            events += receive(workers)
        (setback,) = [event for event in events if not isinstance(event, EpochReport)]
        assert isinstance(setback, Setback)
        assert setback.number == 4
        assert "gave no sign of life" in setback.reason
        assert f"process {stopped} has given no sign of life" in caplog.text
        assert not is_running(stopped)
        workers.submit(task_of(4, tmp_path))
        ends: list[Event] = []
        while not ends:
            ends = [event for event in receive(workers) if not isinstance(event, EpochReport)]
        assert isinstance(ends[0], Outcome)
        assert ends[0].number == 4


@pytest.mark.slow
def test_compiled_code_that_lets_no_beat_through_is_no_silence(
    data_folder: Path, tmp_path: Path
) -> None:
    computing = "sum(__import__('itertools').repeat(1, 900_000_000))"  # keeps Python's lock
    with LocalWorkers(1, data_folder, patience=2.0) as workers:
        assert ask(workers, tmp_path, computing) == 900_000_000


@pytest.mark.slow
def test_a_worker_that_waits_in_python_is_no_silence(data_folder: Path, tmp_path: Path) -> None:
    with LocalWorkers(1, data_folder, patience=3.0) as workers:
        assert ask(workers, tmp_path, "__import__('time').sleep(6)") is None


def test_workers_that_cannot_start_set_the_task_back_with_the_reason(tmp_path: Path) -> None:
    with LocalWorkers(1, tmp_path) as workers:
        workers.submit(task_of(3, tmp_path))
        (setback,) = receive(workers)
        assert isinstance(setback, Setback)
        assert setback.number == 3
        assert setback.reason.startswith("a worker process could not start: FileNotFoundError")
        assert "indptr.npy" in setback.reason
        assert workers.n_idle == 1  # and nothing has been started in its place
        assert workers.pids == []


PROGRAM = """
import sys
from pathlib import Path
from ncf.trials.local import LocalWorkers
from tests.trials.test_local import endless, receive

def main():
    with LocalWorkers(2, Path(sys.argv[1]), 2) as workers:
        for number in (0, 1):
            workers.submit(endless(number, Path(sys.argv[2])))
        begun = set()
        while begun < {0, 1}:
            begun |= {event.number for event in receive(workers)}
        print(*workers.pids, flush=True)
        while True:
            receive(workers)

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker ends a second later")
def test_workers_die_with_a_coordinator_that_is_killed(data_folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "coordinate.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(data_folder), str(tmp_path)]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(PROJECT)}, stdout=subprocess.PIPE, text=True
    ) as coordinator:
        assert coordinator.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in coordinator.stdout.readline().split()]
        assert len(workers) == 2
        coordinator.kill()
    gone, alive = psutil.wait_procs(workers, timeout=DEADLINE)
    assert len(gone) == 2
    assert not alive
