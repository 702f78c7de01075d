"""What processes inherit that this one starts: they are deaf to signals and have one thread.

They do not run its main file either, since a worker needs nothing of the program that searches.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# What a terminal, a scheduler or a system sends to all processes of a search to end it. The
# coordinator alone handles these, and ends its workers.
ENDING_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""The environment of a process in which numpy, torch and OpenMP have one thread each."""


@contextmanager
def deaf() -> Iterator[None]:
    """Blocks the signals that end a search, here and in the processes that start meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits numpy, torch and OpenMP to one thread each in the processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def without_main() -> Iterator[None]:
    """Keeps the processes that start meanwhile from running this program's main file.

    Processes of `spawn` import it else, so that a script without `if __name__ == "__main__":` would
    begin its search again in every worker.
    """
    main = sys.modules["__main__"]
    spec, file = main.__spec__, getattr(main, "__file__", None)
    main.__spec__ = main.__file__ = None
    try:
        yield
    finally:
        main.__spec__, main.__file__ = spec, file
        if file is None:  # a notebook has none
            del main.__file__
