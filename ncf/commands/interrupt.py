"""Ctrl-C: the first lets what runs end in order, the second stops at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def first_interrupt() -> Iterator[Callable[[], bool]]:
    """Notes the first Ctrl-C for whoever asks; the second raises KeyboardInterrupt."""
    before = signal.getsignal(signal.SIGINT)
    n_interrupts = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal n_interrupts
        n_interrupts += 1
        if n_interrupts > 1:
            raise KeyboardInterrupt

    if before is signal.default_int_handler:  # else Ctrl-C is not for this process
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: n_interrupts > 0
    finally:
        signal.signal(signal.SIGINT, before)
