"""Trials in other processes: submit a task, receive its epoch reports and its outcome.

Workers only train and evaluate; they import neither Optuna nor MLflow and touch no file but the
shared data (memory-mapped) and the weights that they write. A worker that dies is replaced, and
its death is an event like any other. The coordinator's death ends the workers: their pipe closes.
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
    process: SpawnProcess
    connection: Connection[Any, Any]
    task: Task | Refit | None = None


class LocalWorkers:
    """Worker processes on this machine, one torch thread each; they start when first needed."""

    def __init__(self, n_workers: int, data_folder: Path, n_at_once: int = 0) -> None:
        """Prepares the workers, which load their data from `data_folder` (`TrialData.save`).

        Args:
            n_workers: Most of them.
            data_folder: What they load.
            n_at_once: How many start now, since they will be needed.
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
            worker.process.kill()  # it holds nothing: what it writes is whole or absent
            worker.connection.close()
        for worker in self._workers:
            worker.process.join()

    @property
    def n_idle(self) -> int:
        """Workers without a task, started or not."""
        return self._n_workers - sum(worker.task is not None for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that have started."""
        return [worker.process.pid or 0 for worker in self._workers]

    def submit(self, task: Task | Refit) -> None:
        """Hands the task to an idle worker; there must be one."""
        worker = next((worker for worker in self._workers if worker.task is None), None)
        if worker is None:
            worker = self._start()
            self._workers.append(worker)
        worker.task = task
        with suppress(OSError):  # it has just died: `receive` finds out, and says so
            worker.connection.send(task)

    def receive(self, timeout: float | None = None) -> list[EpochReport | Outcome | Failure]:
        """Returns what the workers sent, waiting up to `timeout` seconds for something.

        Waits until something comes where `timeout` is None.
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
        theirs.close()  # else a worker's death would not close the pipe
        return _Worker(process, ours)


def _death(worker: _Worker) -> Failure | None:
    worker.process.join()
    worker.connection.close()
    code = worker.process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    if worker.task is None:
        if code == 1:  # it could not even start: so would the next
            raise RuntimeError(f"a worker process ended at its start ({how})")
        return None
    hint = " (out of memory?)" if code == -9 else ""
    return Failure(worker.task.number, f"worker died: {how}{hint}", died=True)


def _compile_kernels() -> None:
    """Compiles them, or loads them from numba's cache on disk: a first start is slow, once.

    Before the first trial, lest its seconds count it; by one worker at a time, lest all compile,
    while the coordinator opens MLflow.
    """
    from ncf.models.table import compile_kernels

    compile_kernels()


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Blocks Ctrl-C, which reaches children too, and is for the coordinator to handle.

    Children inherit that.
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
    """Gives processes that are started meanwhile one thread each for numpy, torch and OpenMP."""
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the coordinator to handle
    data = TrialData.load(data_folder)
    import torch  # here, so that the coordinator need not

    from ncf.trials import trial

    torch.set_num_threads(1)
    with FileLock(data_folder / "kernels.lock"):
        _compile_kernels()
    tqdm.set_lock(threading.RLock())  # its default, a semaphore, would be missed after a kill
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
            except Exception as error:  # one trial never ends the search
                connection.send(_failure(task.number, error))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the coordinator is gone, or needs no more


def _failure(number: int, error: Exception) -> Failure:
    return Failure(number, f"{type(error).__name__}: {error}", traceback.format_exc())
