"""Ctrl-C, SIGTERM and SIGHUP: the first lets running trials end their epoch, as far as there are.

A scheduler or a service manager ends a search with SIGTERM, and a closed connection with SIGHUP.
Both are as orderly a stop as Ctrl-C. But a person can press Ctrl-C again, which stops at once,
while a scheduler kills after half a minute; so an epoch has less than that after its signals.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ncf.trials.start import ENDING_SIGNALS

_EPOCH_SECONDS = 15  # for the epochs to end after SIGTERM or SIGHUP
_received: list[int] = []  # the ending signals since `handled` began
_is_noting = False  # whether the first signal is noted, in place of raising KeyboardInterrupt


@contextmanager
def handled() -> Iterator[None]:
    """Has SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, while the body runs.

    Of each of them, and of both together, the first alone counts: schedulers and shells send more
    than one. A signal that the process was started to ignore, as by nohup, stays ignored.
    """
    _received.clear()
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    changed: dict[int, Any] = {n: handler for n, handler in before.items() if handler in usual}
    for number in changed:
        signal.signal(number, _handle)
    if hasattr(signal, "SIGALRM"):
        changed[signal.SIGALRM] = signal.signal(signal.SIGALRM, _break_off)
    try:
        yield
    finally:
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        for number, handler in changed.items():
            signal.signal(number, handler)


def exit_status() -> int:
    """Returns the exit status of a process that was ended by the first signal that came."""
    return 128 + (_received[0] if _received else signal.SIGINT)


def has_come() -> bool:
    """Returns whether an ending signal has come since `handled` began."""
    return len(_received) > 0


@contextmanager
def first_noted() -> Iterator[None]:
    """Has the first signal only noted, as `has_come` tells; a second Ctrl-C stops at once.

    Raises:
        KeyboardInterrupt: Ctrl-C came again, or the body has ended after a signal.
    """
    global _is_noting
    _is_noting = True
    try:
        yield
    finally:
        _is_noting = False
    if _received:
        raise KeyboardInterrupt


def _handle(number: int, frame: FrameType | None) -> None:
    """Handles an ending signal."""
    is_first = not _received
    _received.append(number)
    if is_first and _is_noting:
        if number != signal.SIGINT and hasattr(signal, "alarm"):
            signal.alarm(_EPOCH_SECONDS)
    elif is_first or number == signal.SIGINT:
        raise KeyboardInterrupt


def _break_off(number: int, frame: FrameType | None) -> None:
    """Stops at once where the epochs have taken too long to end."""
    if _is_noting:
        raise KeyboardInterrupt
