"""Output that outlasts its reader: a lost terminal, a closed pipe or a full disk ends no search."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn, TextIO, cast


class Lasting:
    """A stream of text that drops what cannot be written; in all else it is the stream it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self.loss: OSError | None = None  # the last error of writing
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes the text, if that is possible; returns its length in any case."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self.loss = error
            return len(text)

    def flush(self) -> None:
        """Writes what is buffered, if that is possible."""
        try:
            self._stream.flush()
        except OSError as error:
            self.loss = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlast() -> None:
    """Makes the output of this process last, until it ends."""
    if sys.stdout is not None:  # or it is closed, and nothing is written to it
        sys.stdout = cast(TextIO, Lasting(sys.stdout))
    if sys.stderr is not None:
        sys.stderr = cast(TextIO, Lasting(sys.stderr))


def tell_of_loss() -> None:
    """Prints to stderr where stdout could not be written, unless its reader has gone."""
    if isinstance(sys.stdout, Lasting):
        sys.stdout.flush()
        if sys.stdout.loss is not None and not isinstance(sys.stdout.loss, BrokenPipeError):
            print(
                f"warning: what was printed is lost in part ({sys.stdout.loss}); the study is not, "
                "and the same command prints its results again",
                file=sys.stderr,
            )


def leave(status: int) -> NoReturn:
    """Ends the process, without what Python does at its end where that would crash in Ray."""
    cluster = sys.modules.get("ncf.trials.ray_cluster")
    if cluster is not None and cluster.is_left:
        logging.shutdown()
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with suppress(OSError):
                stream.flush()
        os._exit(status)
    sys.exit(status)
