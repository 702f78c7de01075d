"""Workers that are processes of this machine: submit a task, receive its reports and its outcome.

Workers only train and evaluate; they import neither Optuna nor MLflow and touch no file but the
shared data (memory-mapped) and the weights that they write. A worker that dies is replaced, and
its death is an event like any other. When the coordinator dies, their pipes close and they end.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock
from tqdm import tqdm

from ncf.trials.data import TrialData
from ncf.trials.messages import EpochReport, Failure, Outcome, Refit, Task


@dataclass
class _Worker:
    """A process, our end of the pipe to it, and the task that it has now."""

    process: SpawnProcess
    connection: Connection[Any, Any]
    task: Task | Refit | None = None


class LocalWorkers:
    """Worker processes of one thread each; they start when they are first needed."""

    def __init__(self, n_workers: int, data_folder: Path, n_at_once: int = 0) -> None:
        """Prepares the workers, which load their data from `data_folder`.

        Args:
            n_workers: The most workers that there may be at a time.
            data_folder: The folder that `TrialData.save` has written.
            n_at_once: How many of them start now, because they will be needed.
        """
        self._context = multiprocessing.get_context("spawn")  # fork and threads do not mix
        self._data_folder = data_folder
        self._n_workers = n_workers
        self._workers: list[_Worker] = []
        for _ in range(n_at_once):
            self._workers.append(self._start())

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.process.kill()  # nothing is torn by it: what a worker writes is whole or absent
            worker.connection.close()
        for worker in self._workers:
            worker.process.join()

    @property
    def n_idle(self) -> int:
        """The number of workers without a task, whether or not they have started."""
        return self._n_workers - sum(worker.task is not None for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that have started."""
        return [worker.process.pid or 0 for worker in self._workers]

    def submit(self, task: Task | Refit) -> None:
        """Hands the task to an idle worker; there must be one."""
        worker = next((worker for worker in self._workers if worker.task is None), None)
        if worker is None:
            worker = self._start()
            self._workers.append(worker)
        worker.task = task
        with suppress(OSError):  # it has just died, which `receive` will find and report
            worker.connection.send(task)

    def receive(self, timeout: float | None = None) -> list[EpochReport | Outcome | Failure]:
        """Returns what the workers sent, waiting up to `timeout` seconds for something.

        Where `timeout` is None, it waits until something comes.
        """
        ready = wait([worker.connection for worker in self._workers], timeout)
        events: list[EpochReport | Outcome | Failure] = []
        for index, worker in enumerate(self._workers):
            if worker.connection not in ready:
                continue
            try:
                event = worker.connection.recv()
            except (EOFError, OSError):
                event = _death(worker)
                self._workers[index] = self._start()
                if event is None:
                    continue
            else:
                if not isinstance(event, EpochReport):
                    worker.task = None
            events.append(event)
        return events

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._data_folder), daemon=True, name="ncf-worker"
        )
        with _no_interrupts(), one_thread():
            process.start()
        theirs.close()  # or the pipe would stay open when the worker dies
        return _Worker(process, ours)


def _death(worker: _Worker) -> Failure | None:
    """Returns the failure of a dead worker's task; None where it had no task.

    Raises:
        RuntimeError: The worker could not start.
    """
    worker.process.join()
    worker.connection.close()
    code = worker.process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    if worker.task is None:
        if code == 1:  # an error at its start, which the next worker would meet as well
            raise RuntimeError(f"a worker process ended at its start ({how})")
        return None
    hint = " (out of memory?)" if code == -9 else ""
    return Failure(worker.task.number, f"worker died: {how}{hint}", died=True)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Blocks SIGINT in this process and in those that it starts meanwhile.

    A terminal sends Ctrl-C to the workers as well, but the coordinator alone is to handle it.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits numpy, torch and OpenMP to one thread each in the processes that start meanwhile."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(connection: Connection[Any, Any], data_folder: Path) -> None:
    """Trains what comes through the pipe, until the pipe closes: the body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the coordinator to handle
    data = TrialData.load(data_folder)
    from ncf.models.table import compile_kernels
    from ncf.trials import trial  # only here, since it loads numba, which takes half a second

    # Before the first trial, so that its seconds hold no compilation; one worker at a time, so that
    # the first one compiles and the others load what it has left in numba's cache.
    with FileLock(data_folder / "kernels.lock"):
        compile_kernels()
    tqdm.set_lock(threading.RLock())  # its default is a semaphore, which a killed process leaks
    try:
        while True:
            task = connection.recv()
            try:
                if isinstance(task, Refit):
                    connection.send(trial.refit(task, data))
                    continue
                for event in trial.run(task, data):
                    connection.send(event)
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:  # a trial that fails must not end the search
                connection.send(_failure(task.number, error))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the coordinator has died, or needs this worker no longer


def _failure(number: int, error: Exception) -> Failure:
    return Failure(number, f"{type(error).__name__}: {error}", traceback.format_exc())
