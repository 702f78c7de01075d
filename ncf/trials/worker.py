"""The body of a worker process: it trains what comes through its pipe, until the pipe closes.

Workers only train and evaluate; they import neither Optuna nor MLflow and touch no file but the
shared data (memory-mapped) and the weights that they write. A worker ends when its coordinator
does, however that ends. Importing this is cheap, since the coordinator does.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from filelock import FileLock

from ncf.data.files import wait_for_room
from ncf.trials.data import TrialData
from ncf.trials.messages import Event, Failure, Refit, Setback, Task
from ncf.trials.pulse import BEAT_SECONDS
from ncf.trials.start import ENDING_SIGNALS

_PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


@dataclass(frozen=True)
class Beat:
    """A sign of life."""


@dataclass(frozen=True)
class Ready:
    """The worker has started."""


@dataclass(frozen=True)
class NotStarted:
    """The worker could not start, and ends."""

    reason: str
    traceback: str


class _Link:
    """The worker's end of the pipe, on which one thread reports and another one beats."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.is_awaited = True  # whether the coordinator waits for something
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        with self._lock:
            self._connection.send(message)

    def receive(self) -> Any:
        self.is_awaited = False
        self._connection.poll(None)
        self.is_awaited = True  # before it is read, since that may load a model's modules
        return self._connection.recv()

    def beat(self) -> None:
        """Sends beats while the coordinator waits; ends this process where it has died."""
        coordinator = multiprocessing.parent_process()
        while True:
            if coordinator is not None:
                coordinator.join(BEAT_SECONDS)
                if not coordinator.is_alive():
                    os._exit(1)
            if self.is_awaited:
                try:
                    self.send(Beat())
                except OSError:  # the coordinator needs this worker no longer
                    os._exit(1)


def work(connection: Connection[Any, Any], data_folder: Path) -> None:
    """Trains what comes through the pipe, until the pipe closes."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _end_with_coordinator()
    link = _Link(connection)
    try:
        threading.Thread(target=link.beat, daemon=True, name="beat").start()
        data = TrialData.load(data_folder)
        load_kernels(data_folder)
    except Exception as error:
        link.send(NotStarted(in_a_line(error), traceback.format_exc()))
        sys.exit(1)
    try:
        link.send(Ready())
        while True:
            for event in carry_out(link.receive(), data):
                link.send(event)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the coordinator has died, or needs this worker no longer


def load_kernels(folder: Path) -> None:
    """Loads the compiled code, before the first trial, so that its seconds hold no compilation.

    Args:
        folder: A folder that the workers of this machine share. One of them compiles at a time, so
            that the first one does it and the others load what it has left in numba's cache.
    """
    from tqdm import tqdm

    from ncf.models.table import compile_kernels  # only here, since numba takes half a second

    with FileLock(folder / "kernels.lock"):
        wait_for_room(compile_kernels, "numba's cache folder")
    tqdm.set_lock(threading.RLock())  # its default is a semaphore, which a killed process leaks


def carry_out(task: Task | Refit, data: TrialData) -> Iterator[Event]:
    """Trains one task, and yields what happens; an error of it is an event too."""
    from ncf.trials import trial

    try:
        if isinstance(task, Refit):
            yield trial.refit(task, data)
        else:
            yield from trial.run(task, data)
    except Exception as error:
        kind = Setback if _is_of_machine(error) else Failure
        yield kind(task.number, in_a_line(error), traceback.format_exc())


def _is_of_machine(error: Exception) -> bool:
    """Returns whether an error says nothing of the setting that was trained."""
    return isinstance(error, OSError | ImportError) or "can't start new thread" in str(error)


def in_a_line(error: Exception) -> str:
    """Returns what kind of error it is, and what it says."""
    return f"{type(error).__name__}: {error}"


def _end_with_coordinator() -> None:
    """Has Linux kill this process when the thread that started it ends, even in compiled code.

    Elsewhere the thread that beats ends it, which has to wait for compiled code.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
