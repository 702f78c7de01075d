"""A journal file that several processes write, whatever kills one of them or fills the disk.

All writing is done under one lock, which the system releases when its process ends. So half a line
at the end is what a process left that was killed while it wrote, and whoever has the lock removes
it. Where the disk is full a writer takes back what it has written, so that reading stops at what
was there while the reader had the lock.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.storages.journal import BaseJournalBackend

from ncf.data.files import wait_for_room
from ncf.data.locks import held, is_read_only
from ncf.study.records import line_of, record_of, whole_part

_logger = logging.getLogger(__name__)


class JournalFile(BaseJournalBackend):
    """A journal file, as Optuna's storage reads and writes it.

    What is noted of a running trial, its values after each epoch too, is written together with the
    next entry of another kind, at the latest when the trial ends. Nothing is lost by that, since a
    trial that has not ended is trained again, and it spares waits for the disk: a trial has two, at
    its beginning and at its end.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file, which is created where it is missing."""
        if not path.exists():
            path.touch()
        self.path = path
        self.n_read = 0  # lines that Optuna has been given
        self.whole = 0  # bytes that no writer will take back
        self._starts = [0]  # the place of each line that was read, and of the next
        self._lock = lock_of(path)
        self._file = path.stat().st_ino
        self._waiting: list[Mapping[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yields the records from the one of this number on.

        Raises:
            ValueError: A line is damaged, or the file is another one now.
        """
        start = self._starts[log_number_from]
        if self.path.stat().st_size != self.whole:
            self.whole = self._size()
        if start == self.whole:
            return
        with self.path.open("rb") as file:
            file.seek(start)
            *lines, _ = file.read(self.whole - start).split(b"\n")
        for number, line in enumerate(lines, start=log_number_from):
            self.n_read = number + 1
            try:
                record = record_of(line + b"\n")
            except ValueError as error:
                raise ValueError(damage(self.path, self.n_read, error)) from None
            if self.n_read == len(self._starts):
                self._starts.append(self._starts[number] + len(line) + 1)
            yield record

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Writes records, all or none.

        Raises:
            ValueError: The file is another one now.
            OSError: It cannot be written, or the disk has been full for ten minutes.
        """
        records = [*self._waiting, *logs]
        if not all(map(_can_wait, logs)):
            lines = b"".join(map(line_of, records))
            wait_for_room(partial(self._append, lines), self.path)
            records = []
        self._waiting = records

    def _append(self, lines: bytes) -> None:
        with self._opened() as file:
            size = file.seek(0, os.SEEK_END)
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
            self.whole = size + len(lines)

    def _size(self) -> int:
        """Returns how many bytes are whole; without the lock where it may only be read."""
        try:
            with self._opened() as file:
                return file.seek(0, os.SEEK_END)
        except OSError as error:
            if not is_read_only(error):
                raise
            return self.path.read_bytes().rfind(b"\n") + 1

    @contextmanager
    def _opened(self) -> Iterator[FileIO]:
        """Opens the file under its lock, and ends its last line where that is cut short."""
        with held(self._lock), open(self.path, "r+b", buffering=0) as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._file or status.st_size < self.whole:
                raise ValueError(
                    f"{self.path}: it was replaced while this search went on; give the same "
                    "command again, which continues from what is there now"
                )
            end_last_line(file, self.path)
            yield file


def _can_wait(record: Mapping[str, Any]) -> bool:
    """Returns whether a record is a value or a note of a running trial."""
    return "trial_id" in record and ("intermediate_value" in record or "user_attr" in record)


def backup_of(path: Path) -> Path:
    """Returns the copy of a journal that its last start has made; it is perhaps not there."""
    return path.with_name(f"{path.name}.backup")


def damage(path: Path, line: int, reason: object) -> str:
    """Returns that a line of a journal is damaged, why, and what can be done about it."""
    backup = backup_of(path)
    kept = f"{backup} is a copy from before" if backup.exists() else "there is no copy from before"
    return (
        f"{path}: line {line} is damaged ({reason}); `python -m ncf check --storage "
        f"{shlex.quote(str(path))}` tells what it held and repairs what can be ({kept}), or begin "
        "another with --storage FILE"
    )


def lock_of(path: Path) -> FileLock:
    """Returns the lock under which a journal is written."""
    return FileLock(f"{path}.filelock", poll_interval=0.005)


def end_last_line(file: FileIO, path: Path) -> None:
    """Removes half a last line, or gives a whole record the end of its line, under the lock."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    content = file.read(size)
    start = content.rfind(b"\n") + 1
    kept = whole_part(content[start:])
    file.truncate(start)
    file.seek(start)
    file.write(kept)
    what = "ended" if kept else "dropped"
    _logger.warning("%s: %s its last line, which was cut short", path, what)
