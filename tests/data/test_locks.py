"""A file system without locks is told of with the place and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from ncf.data.locks import acquire

fcntl = pytest.importorskip("fcntl")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=r"one\.lock: this file system has no locks .* local disk"):
        acquire(FileLock(tmp_path / "one.lock"))


def test_a_lock_that_is_held_or_cannot_be_made_is_another_matter(tmp_path: Path) -> None:
    with FileLock(tmp_path / "one.lock", is_singleton=False), pytest.raises(Timeout):
        acquire(FileLock(tmp_path / "one.lock", is_singleton=False), timeout=0)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        acquire(FileLock(tmp_path / "file" / "one.lock"), timeout=0)
