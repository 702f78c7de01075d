"""Worker processes: real ones, that compute what `trial.run` computes, die and are replaced."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.metrics import Objective
from ncf.protocol.seeds import Purpose, spawn
from ncf.trials import trial
from ncf.trials.data import TrialData
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import EpochReport, Failure, Outcome, Refit, Setback, Task

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
    return replace(event, time=0.0, seconds=0.0) if isinstance(event, Outcome) else event


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
    failures = {event.number: event for event in until_idle(workers) if isinstance(event, Failure)}
    assert failures[7].reason.startswith("FloatingPointError: diverged: the loss of epoch")
    assert "FloatingPointError" in failures[7].traceback
    assert "trial.py" in failures[7].traceback
    assert "No such file or directory" in failures[8].reason
    assert not failures[7].died
    assert not failures[8].died
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


def test_workers_that_cannot_start_are_an_error_and_not_a_loop(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(RuntimeError, match=r"ended at its start \(exit status 1\)"),
        LocalWorkers(1, tmp_path, 1) as workers,
    ):
        receive(workers)
    assert "indptr.npy" in capfd.readouterr().err  # the reason is on the terminal
