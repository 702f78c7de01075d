"""Where studies are recorded: Optuna's journal file, made safe against kills and full disks."""

from __future__ import annotations

import json
import logging
import os
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock, get_lock_file

from ncf.data.files import wait_for_room

_logger = logging.getLogger(__name__)


def open_storage(location: str) -> BaseStorage:
    """Opens a journal file, or any storage URL that Optuna knows (`sqlite:///...`).

    Raises:
        ValueError: It cannot be opened, is damaged, or is a file of another kind.
    """
    if "://" in location:
        try:
            return optuna.storages.get_storage(location)
        except Exception as error:  # SQLAlchemy's, a missing driver's
            raise ValueError(
                f"--storage {location}: cannot be opened ({error}); give a file, or a URL like "
                "sqlite:////folder/optuna.db"
            ) from error
    path = Path(location).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _Lock(path)
    with get_lock_file(lock):  # else the line that another study is just writing would look torn
        _drop_torn_line(path)
    try:
        return JournalStorage(_File(path))
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path}: damaged ({error!r}); restore it, or begin another with --storage FILE"
        ) from error


class _Lock(BaseJournalFileLock):
    """A lock that the system releases with its process; Optuna's own outlive a kill by 30 s."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(f"{path}.filelock", poll_interval=0.005)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class _File(JournalFileBackend):
    """Optuna's journal file; where the disk is full, the writer waits until there is room.

    Intermediate values wait for the next record, that of the trial's end at the latest: a trial
    that has not ended is trained again, and each write waits for the disk.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lock_obj=_Lock(path))
        self._waiting: list[dict[str, Any]] = []

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._waiting += logs
        if all("intermediate_value" in log for log in logs):
            return
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in self._waiting]
        wait_for_room(partial(self._append, "".join(lines).encode()), self._file_path)
        self._waiting.clear()

    def _append(self, lines: bytes) -> None:
        with get_lock_file(self._lock), open(self._file_path, "ab", buffering=0) as file:
            size = file.tell()
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)  # all or nothing
                raise


def lock_study(folder: Path) -> FileLock:
    """Makes this process the only coordinator of the study whose folder it is, until it ends.

    Raises:
        RuntimeError: Another process has the study.
    """
    lock = FileLock(folder / "lock")  # the system releases it, however the process ends
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(
            f"study {folder.name!r} is being searched by another process: wait for it, or begin "
            "another with --study NAME"
        ) from None
    return lock


def _drop_torn_line(path: Path) -> None:
    # A power cut or a full disk can leave half a line, on which the next write would die.
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        if not b'{"op_code"'.startswith(file.read(10)):  # else it is torn in its first line
            raise ValueError(f"--storage {path}: not an Optuna journal; give another file")
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
    _logger.warning("%s: dropped its last line, which was cut short", path)
