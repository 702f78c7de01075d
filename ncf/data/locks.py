"""Taking a file lock, which another process may hold, and a file system may not have."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

_logger = logging.getLogger(__name__)
PATIENCE = 10.0  # seconds to wait for a lock before it is told
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def acquire(lock: FileLock, timeout: float = -1) -> None:
    """Takes a lock, waiting up to `timeout` seconds for it, or for ever where that is negative.

    Raises:
        Timeout: Another process holds it.
        OSError: The file system has no locks; the error says so. Or the file cannot be made.
    """
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise OSError(
            f"{lock.lock_file}: this file system has no locks ({error}), without which a study is "
            "not safe; begin it in a folder of another, such as that of a local disk"
        ) from error


@contextmanager
def held(lock: FileLock) -> Iterator[None]:
    """Holds a lock, and tells where another process does not let go of it."""
    try:
        acquire(lock, PATIENCE)
    except Timeout:
        _logger.warning(
            "%s: waiting for another process, which holds this lock; it may be stopped (Ctrl-C "
            "twice ends the waiting)",
            lock.lock_file,
        )
        acquire(lock)
    try:
        yield
    finally:
        lock.release()


def is_read_only(error: OSError) -> bool:
    """Returns whether a file, such as that of a lock, is in a place that may only be read."""
    return error.errno in _READ_ONLY
