"""Ctrl-C: the first lets the running trials end their epoch, the second stops at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def first_interrupt() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether Ctrl-C has come; a second raises KeyboardInterrupt."""
    before = signal.getsignal(signal.SIGINT)
    n_interrupts = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal n_interrupts
        n_interrupts += 1
        if n_interrupts > 1:
            raise KeyboardInterrupt

    if before is signal.default_int_handler:  # or the process was started so as to ignore Ctrl-C
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: n_interrupts > 0
    finally:
        signal.signal(signal.SIGINT, before)
