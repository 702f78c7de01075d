"""Taking a file lock, where the file system may have none."""

from __future__ import annotations

import errno

from filelock import FileLock, Timeout

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


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
