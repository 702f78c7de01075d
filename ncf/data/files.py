"""Writing to a disk that may be full for a while: a search of hours does not end for that."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

RESULTS = Path("mlruns")  # where a person's results live, below the folder that they work in

_PATIENCE = 600.0  # seconds for a full disk to have room again
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds
_logger = logging.getLogger(__name__)


def wait_for_room(write: Callable[[], object], path: str | Path) -> None:
    """Calls `write` until the disk of `path` has room for it.

    Raises:
        OSError: It has none for ten minutes, or another error has come up.
    """
    deadline, pause = time.monotonic() + _PATIENCE, 0.0
    while True:
        try:
            write()
            return
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            if not is_full or time.monotonic() > deadline:
                raise
        if not pause:
            _logger.warning("%s: the disk is full; waiting for room", path)
        pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        time.sleep(pause)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Writes a file that is whole or absent, whatever happens meanwhile."""
    # The process's own: that of a killed search may live on for a while, and be at the same file.
    unfinished = path.with_suffix(f".{os.getpid()}.part")

    def write() -> None:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)

    wait_for_room(write, path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives a new folder to fill, which becomes `path` when all of it is written, or never.

    What was at `path` before is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as place:
        draft = Path(place) / "draft"
        draft.mkdir()
        yield draft
        if path.exists():
            path.rename(Path(place) / "replaced")
        draft.rename(path)
