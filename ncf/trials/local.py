"""Workers that are processes of this machine: submit a task, receive its reports and its outcome.

A worker that dies is replaced, and its death is an event like any other. One that cannot start, or
that gives no sign of life, sets its task back. `worker.py` has what a worker does.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any

from ncf.trials.messages import EpochReport, Event, Failure, Refit, Setback, Task
from ncf.trials.pulse import PATIENCE, WORD_SECONDS, Pulse
from ncf.trials.start import deaf, one_thread, without_main
from ncf.trials.worker import Beat, NotStarted, Ready, work

_LOOK_SECONDS = 1.0  # between two looks at the workers that are awaited
_JOIN_SECONDS = 5.0  # for a killed process to end; one that waits for a disk that hangs does not
_logger = logging.getLogger(__name__)


@dataclass
class _Worker:
    """A process, our end of the pipe to it, and what is known of it.

    Attributes:
        process: The process.
        connection: Our end of the pipe.
        pulse: Whether it is alive.
        task: The task that it has now.
        is_ready: Whether it has started.
        problem: Why it could not start.
        is_told_of: Whether its silence has been told of.
    """

    process: SpawnProcess
    connection: Connection[Any, Any]
    pulse: Pulse
    task: Task | Refit | None = None
    is_ready: bool = False
    problem: NotStarted | None = None
    is_told_of: bool = False


class LocalWorkers:
    """Worker processes of one thread each; they start when they are first needed.

    The thread that starts them must outlive them.
    """

    def __init__(
        self, n_workers: int, data_folder: Path, n_at_once: int = 0, patience: float = PATIENCE
    ) -> None:
        """Prepares the workers, which load their data from `data_folder`.

        Args:
            n_workers: The most workers that there may be at a time.
            data_folder: The folder that `TrialData.save` has written.
            n_at_once: How many of them start now, because they will be needed.
            patience: Seconds without a sign of life after which a worker is ended.
        """
        self._context = multiprocessing.get_context("spawn")  # fork and threads do not mix
        self._data_folder = data_folder
        self._n_workers = n_workers
        self._patience = patience
        self._workers: list[_Worker] = []
        self._not_started: list[Event] = []  # of tasks for which no process could be started
        try:
            for _ in range(n_at_once):
                self._start_early()
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def n_idle(self) -> int:
        """The number of workers without a task, whether or not they have started."""
        n_busy = sum(worker.task is not None for worker in self._workers)
        return self._n_workers - n_busy - len(self._not_started)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that have started."""
        return [worker.process.pid or 0 for worker in self._workers]

    def submit(self, task: Task | Refit) -> None:
        """Hands the task to an idle worker; there must be one."""
        worker = next((worker for worker in self._workers if worker.task is None), None)
        if worker is None:
            try:
                worker = self._start()
            except OSError as error:
                reason = f"a worker process could not be started: {error} (see `ulimit -u`)"
                self._not_started.append(Setback(task.number, reason))
                return
        worker.task = task
        worker.pulse.beat()
        with suppress(OSError):  # it has just died, which `receive` will find and report
            worker.connection.send(task)

    def receive(self, timeout: float | None = None) -> list[Event]:
        """Returns what the workers sent, waiting up to `timeout` seconds for something.

        Where `timeout` is None, it waits until something comes.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        events, self._not_started = self._not_started, []
        while True:
            left = 0.0 if events else max(0.0, end - time.monotonic())
            ready = wait([worker.connection for worker in self._workers], min(left, _LOOK_SECONDS))
            for worker in [*self._workers]:
                if worker.connection in ready:
                    events += self._take(worker)
                elif self._is_lost(worker):
                    events += self._give_up(worker)
            if events or time.monotonic() >= end:
                return events

    def _take(self, worker: _Worker) -> list[Event]:
        """Receives one message of a worker; returns the event that it is, if it is one."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        worker.pulse.beat()
        worker.is_told_of = False
        match message:
            case Beat():
                return []
            case Ready():
                worker.is_ready = True
                return []
            case NotStarted():
                worker.problem = message  # its end follows
                return []
            case EpochReport():
                return [message]
            case _:
                worker.task = None
                return [message]

    def _bury(self, worker: _Worker) -> list[Event]:
        """Removes a worker that has died; returns what this means for its task, if it had one."""
        self._remove(worker)
        code = worker.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        hint = " (out of memory?)" if code == -9 else ""
        if worker.is_ready:
            self._start_early()
            if worker.task is None:
                return []
            return [Failure(worker.task.number, f"worker died: {how}{hint}", died=True)]
        problem = worker.problem or NotStarted(f"{how}{hint}", "")
        reason = f"a worker process could not start: {problem.reason}"
        if worker.task is not None:
            return [Setback(worker.task.number, reason, problem.traceback)]
        _logger.warning("%s", reason)
        return []

    def _is_lost(self, worker: _Worker) -> bool:
        """Returns whether a worker that something is awaited of has given no sign of life."""
        if worker.is_ready and worker.task is None:
            return False
        silence = worker.pulse.look()
        if silence >= min(WORD_SECONDS, self._patience) and not worker.is_told_of:
            worker.is_told_of = True
            _logger.warning(
                "waiting for a worker: process %d has given no sign of life for %.0f s, as if it "
                "were stopped or its disk hung; after %.0f s it is ended, and what it trains is "
                "trained by another",
                worker.process.pid,
                silence,
                self._patience,
            )
        return silence >= self._patience

    def _give_up(self, worker: _Worker) -> list[Event]:
        """Ends a worker that gives no sign of life; returns what this means for its task."""
        worker.process.kill()
        self._remove(worker)
        if worker.is_ready:
            self._start_early()
        if worker.task is None:
            return []
        reason = f"its worker, process {worker.process.pid}, gave no sign of life and was ended"
        return [Setback(worker.task.number, reason)]

    def _remove(self, worker: _Worker) -> None:
        worker.process.join(_JOIN_SECONDS)
        worker.connection.close()
        self._workers.remove(worker)

    def _start_early(self) -> None:
        """Starts a worker that will be needed; where it cannot be started, `submit` tries again."""
        with suppress(OSError):
            self._start()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        try:
            process = self._context.Process(
                target=work, args=(theirs, self._data_folder), daemon=True, name="ncf-worker"
            )
            with deaf(), one_thread(), without_main():
                process.start()
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()  # or the pipe would stay open when the worker dies
        worker = _Worker(process, ours, Pulse(process.pid or 0))
        self._workers.append(worker)
        return worker

    def _end(self) -> None:
        """Ends all workers; nothing is torn by it: what a worker writes is whole or absent."""
        for worker in self._workers:
            worker.process.kill()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(_JOIN_SECONDS)
