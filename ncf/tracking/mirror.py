"""A queue of what MLflow lacks, and the thread that writes it, so that a search need not wait.

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
from typing import TypeVar

from ncf.redaction import one_line

T = TypeVar("T")
_logger = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds
SLOWNESS = 10  # a long upload is given this many times the patience that failures are given


class Mirror:
    """A queue of named entries, and the thread that writes them."""

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        """Starts the thread, which ends with the process, whatever it is doing then.

        Args:
            check: Is called before each entry is written, which it stops by an error.
        """
        self._check = check
        self._entries: dict[str, Callable[[], object]] = {}
        self._writing = ""  # the entry that is being written
        self._failing: dict[str, str] = {}  # the entries whose last attempt failed, with the reason
        self._is_urgent = False
        self._has_given_up = False
        self._changed = threading.Condition()
        self._wrote_at = 0.0
        # Python lets a thread compute for 5 ms before another has its turn. MLflow computes tens of
        # milliseconds at a time, and would make the search wait 5 ms for each of its own steps.
        sys.setswitchinterval(0.0005)
        threading.Thread(target=self._work, daemon=True, name="mlflow").start()

    def put(self, name: str, write: Callable[[], T]) -> Future[T]:
        """Adds an entry, in place of an unwritten one of the same name.

        Returns:
            The future result of `write`, done as soon as a call of it has succeeded.
        """
        written: Future[T] = Future()
        with self._changed:
            self._entries[name] = lambda: written.set_result(write())
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
            while missing := [*filter(None, dict.fromkeys([self._writing, *self._entries]))]:
                most = patience if self._failing else SLOWNESS * patience
                left = min(self._wrote_at + most, end) - time.monotonic()
                if left <= 0:
                    self._has_given_up = True
                    names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
                    return f"{names}: {next(iter(self._failing.values()), 'no time')}"
                self._changed.wait(left)
        return ""

    def _work(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_urgent, pause)
                self._changed.wait_for(lambda: self._entries)
                if self._has_given_up:
                    return
                name = self._writing = next(iter(self._entries))
                write = self._entries.pop(name)
            try:
                self._check()
                write()
            except Exception as error:  # of any kind: MLflow must not end the search
                self._note_failure(name, write, one_line(error)[:300])
                pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                time.sleep(FIRST_PAUSE)
            else:
                self._note_success(name)
                pause = 0.0

    def _note_failure(self, name: str, write: Callable[[], object], reason: str) -> None:
        with self._changed:
            if not self._failing:
                _logger.warning(
                    "MLflow did not take %s: %s. The search goes on, and this is tried again",
                    name,
                    reason,
                )
            self._entries.setdefault(name, write)  # unless a newer one has come meanwhile
            self._failing[name] = reason
            self._writing = ""
            self._changed.notify_all()

    def _note_success(self, name: str) -> None:
        with self._changed:
            if self._failing.pop(name, None) is not None and not self._failing:
                _logger.warning("MLflow has now taken all that it did not take before")
            self._writing = ""
            self._wrote_at = time.monotonic()
            self._changed.notify_all()
