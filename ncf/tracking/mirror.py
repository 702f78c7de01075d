"""A queue of what MLflow lacks, and the threads that write it, so that a search need not wait.

An entry is a function that writes what MLflow lacks of one thing, and may be called any number of
times. An entry that fails goes to the end of the queue, after a pause that doubles with each
failure.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from ncf.redaction import one_line

T = TypeVar("T")
_logger = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds
SERVER_THREADS = 4  # that write to a server at a time
SLOWNESS = 10  # a long upload is given this many times the patience that failures are given


@dataclass
class _Entry:
    """Something that MLflow lacks.

    Attributes:
        write: Writes it.
        is_apart: Whether it may be written at the same time as other entries of which this holds.
    """

    write: Callable[[], object]
    is_apart: bool


class Mirror:
    """A queue of named entries, and the threads that write them.

    Entries begin in their order. One that is not apart from the others waits for those that are
    being written, and the next wait for it.
    """

    def __init__(
        self,
        check: Callable[[], None] = lambda: None,
        n_threads: int = 1,
        last_error: type[Exception] | tuple[()] = (),
    ) -> None:
        """Starts the threads, which end with the process, whatever they are doing then.

        Args:
            check: Is called before each entry is written, which it stops by an error.
            n_threads: How many entries are written at a time.
            last_error: The error after which nothing more is written.
        """
        self._check = check
        self._last_error = last_error
        self._entries: dict[str, _Entry] = {}
        self._writing: dict[str, _Entry] = {}
        self._failing: dict[str, str] = {}  # the entries whose last attempt failed, with the reason
        self._is_urgent = False
        self._has_given_up = False
        self._changed = threading.Condition()
        self._wrote_at = 0.0
        self._pause = 0.0  # before the next attempt, after a failure
        self._failed_at = 0.0
        # Python lets a thread compute for 5 ms before another has its turn. MLflow computes tens of
        # milliseconds at a time, and would make the search wait 5 ms for each of its own steps.
        sys.setswitchinterval(0.0005)
        for _ in range(n_threads):
            threading.Thread(target=self._work, daemon=True, name="mlflow").start()

    def put(self, name: str, write: Callable[[], T], is_apart: bool = False) -> Future[T]:
        """Adds an entry, in place of an unwritten one of the same name.

        Args:
            name: The name of the entry; no two of one name are written at a time.
            write: Writes it.
            is_apart: Whether it may be written at the same time as others of which this holds.

        Returns:
            The future result of `write`, done as soon as a call of it has succeeded.
        """
        written: Future[T] = Future()
        with self._changed:
            self._entries[name] = _Entry(lambda: written.set_result(write()), is_apart)
            self._changed.notify_all()
        return written

    def finish(self, patience: float, at_most: float = math.inf) -> str:
        """Waits until all is written; gives up after `patience` seconds without a successful write.

        Args:
            patience: Seconds; ten times as many while no write has failed.
            at_most: Seconds to wait in all.

        Returns:
            The names of what is not written, with a reason; empty where all is written.
        """
        with self._changed:
            self._wrote_at = time.monotonic()
            end = self._wrote_at + at_most
            self._is_urgent = True
            self._changed.notify_all()
            while missing := [*dict.fromkeys([*self._writing, *self._entries])]:
                most = patience if self._failing else SLOWNESS * patience
                left = min(self._wrote_at + most, end) - time.monotonic()
                if left <= 0 or self._has_given_up:
                    self._has_given_up = True
                    self._changed.notify_all()
                    names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
                    return f"{names}: {next(iter(self._failing.values()), 'no time')}"
                self._changed.wait(left)
        return ""

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_urgent, self._pause)
                self._changed.wait_for(lambda: self._has_given_up or self._next())
                if self._has_given_up:
                    return
                name = self._next()
                entry = self._writing[name] = self._entries.pop(name)
            began = time.monotonic()
            try:
                self._check()
                entry.write()
            except self._last_error as error:
                with self._changed:
                    self._failing[name] = one_line(error)
                    self._has_given_up = True
                    self._changed.notify_all()
            except Exception as error:  # of any kind: MLflow must not end the search
                self._note_failure(name, entry, began, one_line(error)[:300])
                time.sleep(FIRST_PAUSE)
            else:
                self._note_success(name)

    def _next(self) -> str:
        """Returns the name of the entry that may be written now; empty for none."""
        if any(not entry.is_apart for entry in self._writing.values()):
            return ""
        for name, entry in self._entries.items():
            if not entry.is_apart:
                return "" if self._writing else name
            if name not in self._writing:
                return name
        return ""

    def _note_failure(self, name: str, entry: _Entry, began: float, reason: str) -> None:
        with self._changed:
            if not self._failing:
                _logger.warning(
                    "MLflow did not take %s: %s. The search goes on, and this is tried again",
                    name,
                    reason,
                )
            self._entries.setdefault(name, entry)  # unless a newer one has come meanwhile
            self._failing[name] = reason
            del self._writing[name]
            if began >= self._failed_at:  # else another thread has noted the same failure
                self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
                self._failed_at = time.monotonic()
            self._changed.notify_all()

    def _note_success(self, name: str) -> None:
        with self._changed:
            if self._failing.pop(name, None) is not None and not self._failing:
                _logger.warning("MLflow has now taken all that it did not take before")
            del self._writing[name]
            self._wrote_at = time.monotonic()
            self._pause = 0.0
            self._changed.notify_all()


def n_threads_for(tracking_uri: str) -> int:
    """Returns how many threads write to a store: one to a file, of which one alone can write."""
    return 1 if tracking_uri.startswith("sqlite:") else SERVER_THREADS
