"""Files on a disk: where a person's folders are, and writing that leaves no torn file behind.

The data home is `NCF_DATA_HOME`, else the cache folder. The cache folder is `NCF_CACHE_HOME`, else
the platform's folder for `ncf-search`; it only saves time and can be deleted.
"""

from __future__ import annotations

import errno
import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

RESULTS = Path("mlruns")
"""Where a person's results live, below the folder that they work in."""

_MOST_FILES = 100_000
PATIENCE = 600.0  # seconds for a full disk to have room again
_FIRST_PAUSE = 0.5  # seconds
_LONGEST_PAUSE = 30.0  # seconds
_logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Returns the folder of what can be made again."""
    own = os.environ.get("NCF_CACHE_HOME")
    if own:
        return Path(own).expanduser()
    import platformdirs  # only here, so that a worker starts without it

    return platformdirs.user_cache_path("ncf-search")


def data_home() -> Path:
    """Returns the folder that holds the data sets which are known by name."""
    own = os.environ.get("NCF_DATA_HOME")
    return Path(own).expanduser() if own else cache_folder()


def files_of(path: Path) -> list[Path]:
    """Returns the files of a data set: the path itself, or the parts in a folder, in order.

    The parts are the parquet files of a folder, or else its files, which must be of one kind. Names
    that begin with `_` or `.` do not count, as Spark has them beside its parts.

    Raises:
        ValueError: The folder holds no such files.
    """
    if not path.is_dir():
        return [path]
    found = [
        file
        for file in sorted(islice(path.rglob("*"), _MOST_FILES))
        if file.is_file() and not any(part[0] in "._" for part in file.relative_to(path).parts)
    ]
    parts = [file for file in found if file.suffix.lower() in (".parquet", ".pq")]
    if parts:
        return parts
    if len({file.suffix.lower() for file in found}) != 1:
        what = ", ".join([file.name for file in found[:4]]) or "no files"
        raise ValueError(
            f"{path}: a folder of {what}{', ...' if len(found) > 4 else ''}; give the path of one "
            "file of ratings, or of a folder that holds the parts of one"
        )
    return found


def wait_for_room(write: Callable[[], object], path: str | Path, otherwise: float = 0.0) -> None:
    """Calls `write` until the disk of `path` has room; a search of hours outlives a full disk.

    Args:
        write: Writes `path`; it may be called any number of times.
        path: The file or folder, which errors and messages name.
        otherwise: Seconds to go on trying after other errors, such as those of a folder that cannot
            be written for a while.

    Raises:
        OSError: The disk has had no room for ten minutes, or another error has lasted.
    """
    start = time.monotonic()
    pause = 0.0
    while True:
        try:
            write()
            return
        except OSError as error:
            is_full = _is_of_full_disk(error)
            lasting = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
            patience = PATIENCE if is_full else 0.0 if isinstance(error, lasting) else otherwise
            if time.monotonic() - start >= patience:
                raise _naming(error, path) from error
            reason = "the disk is full; waiting for room" if is_full else f"{error}; trying again"
        if not pause:
            _logger.warning("%s: %s", path, reason)
        pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        time.sleep(pause)


def _is_of_full_disk(error: OSError) -> bool:
    # numpy tells of a full disk without its number
    is_cut_short = error.errno is None and " requested and " in str(error)
    return error.errno in (errno.ENOSPC, errno.EDQUOT) or is_cut_short


def _naming(error: OSError, path: str | Path) -> OSError:
    """Returns the error with the path, if it names none."""
    if error.filename is not None:
        return error
    if error.errno is None:
        return OSError(f"{path}: {error}")
    return OSError(error.errno, error.strerror, str(path))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Lets the body make a file or a folder, so that `path` is whole or as it was before.

    The body is given the path of a draft, where nothing is yet, in the folder of `path`. When the
    body ends, the draft takes the place of what `path` was; when it fails, the draft is removed.
    A draft that a killed process has left is removed by the next one that writes the same path.

    >>> with whole(Path("top10")) as draft:  # doctest: +SKIP
    ...     draft.mkdir()
    """
    _remove_left_drafts(path)
    draft = path.with_name(f"{_draft_prefix(path)}{os.getpid()}.part")
    try:
        yield draft
        _replace(draft, path)
    finally:
        _remove(draft)


def write_whole(path: Path, content: bytes | memoryview, otherwise: float = 0.0) -> None:
    """Writes a file that is whole or as it was before, and waits where the disk is full.

    Args:
        path: The file.
        content: What it is to hold.
        otherwise: Seconds to go on trying after other errors, as in `wait_for_room`.
    """

    def write() -> None:
        with whole(path) as draft:
            draft.write_bytes(content)

    wait_for_room(write, path, otherwise)


def _draft_prefix(path: Path) -> str:
    # A process is known by its number on one machine alone, and folders may be shared by several.
    return f".{path.name}.{platform.node()}."


def _remove_left_drafts(path: Path) -> None:
    """Removes the drafts of `path` whose processes on this machine have ended."""
    prefix = _draft_prefix(path)
    with suppress(OSError):  # as a folder that is not there, which the writer will tell of
        for name in os.listdir(path.parent):
            if name.startswith(prefix) and name.endswith(".part"):
                number = name.removeprefix(prefix).partition(".")[0]
                if number.isdecimal() and not _is_running(int(number)):
                    _remove(path.with_name(name))


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return False  # a draft of this process is made anew
    import psutil  # only here, as there is seldom a draft

    return psutil.pid_exists(process)


def _replace(draft: Path, path: Path) -> None:
    """Moves a draft to `path`, where there may be nothing, a file, or a folder."""
    while True:
        try:
            draft.replace(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        # A folder can only take the place of none.
        replaced = draft.with_name(f"{_draft_prefix(path)}{os.getpid()}.replaced.part")
        with suppress(FileNotFoundError):  # where another process has been faster
            path.rename(replaced)
        _remove(replaced)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # as where its folder is none
            path.unlink()
