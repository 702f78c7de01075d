"""What the signals do that end a search, sent to this process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from ncf.commands import interrupt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX's")
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    """Gives the signals the handlers of a new process; a shell's background jobs ignore SIGINT."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_what_has_no_epochs_at_once(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(KeyboardInterrupt), interrupt.handled():
        signal.raise_signal(number)
    assert interrupt.exit_status() == 128 + number
    assert [signal.getsignal(one) for one in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_where_epochs_are_to_end(number: signal.Signals) -> None:
    with interrupt.handled():
        with pytest.raises(KeyboardInterrupt), interrupt.first_noted():  # noqa: PT012
            assert not interrupt.has_come()
            signal.raise_signal(number)
            assert interrupt.has_come()
            for again in (signal.SIGTERM, signal.SIGHUP):  # schedulers and shells send several
                signal.raise_signal(again)
        signal.raise_signal(signal.SIGTERM)  # nor do more of them disturb what closes the runs
    assert interrupt.exit_status() == 128 + number


def test_ctrl_c_again_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), interrupt.handled(), interrupt.first_noted():  # noqa: PT012
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert interrupt.exit_status() == 128 + signal.SIGTERM


def test_what_the_process_was_started_to_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with interrupt.handled(), interrupt.first_noted():
            signal.raise_signal(signal.SIGHUP)
            assert not interrupt.has_come()
    finally:
        signal.signal(signal.SIGHUP, before)
