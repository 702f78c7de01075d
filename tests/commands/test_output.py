"""Output that cannot be written is dropped, and told of where it was not left on purpose."""

from __future__ import annotations

import errno
import io
import sys

import pytest

from ncf.commands.output import outlast, tell_of_loss


class Broken(io.StringIO):
    """A stream that fails once it is flushed, as a pipe or a file does that Python buffers."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def flush(self) -> None:
        raise OSError(self.number, "no more")


@pytest.mark.parametrize(
    ("number", "is_told"), [(errno.EPIPE, False), (errno.EIO, True), (errno.ENOSPC, True)]
)
def test_what_cannot_be_written_is_no_error(
    monkeypatch: pytest.MonkeyPatch, number: int, is_told: bool
) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Broken(number))
    monkeypatch.setattr(sys, "stderr", errors)
    outlast()
    print("a line", flush=True)
    tell_of_loss()
    assert ("what was printed is lost in part" in errors.getvalue()) == is_told


def test_the_stream_is_otherwise_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    monkeypatch.setattr(sys, "stderr", None)  # it is closed
    outlast()
    print("a line")
    assert written.getvalue() == "a line\n"
    assert not sys.stdout.isatty()
    assert sys.stderr is None
