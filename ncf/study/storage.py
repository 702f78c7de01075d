"""The storage of studies: opened, locked and backed up."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import cast

from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage

from ncf.data.files import whole
from ncf.data.locks import acquire, is_read_only
from ncf.study.journal_file import JournalFile, backup_of, damage

_logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5  # a command that looks whether a study is searched has the lock for an instant


def open_existing(location: str) -> BaseStorage:
    """Opens a record, where there is one.

    Raises:
        ValueError: There is none, or as `open_storage`.
    """
    if "://" not in location and not Path(location).exists():
        raise ValueError(
            f"{location}: no such record; run search.py here first, or give the --storage that "
            "the search was given"
        )
    return open_storage(location)


def open_storage(location: str) -> BaseStorage:
    """Opens a journal file, or any storage URL that Optuna knows (`sqlite:///...`).

    Raises:
        ValueError: It cannot be opened, is damaged, or is a file of another kind.
    """
    if "://" in location:
        return _open_database(location)
    path = Path(location).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    check_kind(path)
    file = JournalFile(path)
    try:
        storage = JournalStorage(file)
    except (ValueError, LookupError, TypeError, AssertionError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(damage(path, file.n_read, error)) from error  # of a line without checksum
    _back_up(path, file.whole)
    return storage


def _open_database(url: str) -> BaseStorage:
    """Opens a database that Optuna knows.

    Raises:
        ValueError: It cannot be opened.
    """
    from ncf.study.database import Database  # here: a journal needs no SQLAlchemy

    try:
        return cast(BaseStorage, Database(url))
    except Exception as error:  # SQLAlchemy's, a missing driver's
        remedy = (
            'install its driver with `pip install -e ".[postgres]"`'
            if isinstance(error, ImportError) and url.startswith("postgresql")
            else "give a file, or the URL of a database that holds nothing of MLflow's, like "
            "postgresql://user@host/optuna or sqlite:////folder/optuna.db"
        )
        raise ValueError(f"--storage {url}: cannot be opened ({error}); {remedy}") from error


def check_kind(path: Path) -> None:
    """Checks that a file, if it is there, begins as a journal does.

    Raises:
        ValueError: It is a file of another kind.
    """
    beginning = b'{"op_code"'
    with suppress(FileNotFoundError), path.open("rb") as file:
        if not beginning.startswith(file.read(len(beginning))):
            raise ValueError(f"--storage {path}: not an Optuna journal; give another file")


def _back_up(path: Path, size: int) -> None:
    """Copies the first bytes of a journal, which could all be read, beside it.

    Another copy, which is no beginning of it, is kept too: someone has replaced the journal, or it
    has lost lines.
    """
    backup = backup_of(path)
    try:
        with path.open("rb") as file:
            content = file.read(size)
        before = backup.read_bytes() if backup.exists() else b""
        if before == content:
            return
        if not content.startswith(before):
            other = backup.with_name(f"{backup.name}-{int(backup.stat().st_mtime)}")
            backup.replace(other)
            _logger.warning("%s: it is not as it was at its last start; see %s", path, other)
        with whole(backup) as draft:
            draft.write_bytes(content)
    except OSError as error:  # the study needs none, and a reader may not be allowed to
        if not is_read_only(error):
            _logger.warning("%s: no copy of it could be made: %s", path, error)


def lock_study(folder: Path) -> FileLock:
    """Makes this process the only coordinator of the study that has the folder, until it ends.

    Raises:
        RuntimeError: Another process is searching the study.
        OSError: The file system has no locks.
    """
    return _locked(folder / "lock", f"study {folder.name!r}")


def lock_record(location: str, study: str) -> FileLock:
    """Makes this process the only one that writes a study of a journal, until it ends.

    The lock lies beside the journal, which searches from several folders may have in common.

    Raises:
        RuntimeError: Another process, perhaps one that was begun in another folder, has the study.
        OSError: The file system has no locks.
    """
    path = Path(location).resolve()
    return _locked(path.with_name(f"{path.name}.{study}.lock"), f"study {study!r} of {path}")


def _locked(file: Path, what: str) -> FileLock:
    lock = FileLock(file)  # the system releases it, however the process ends
    try:
        acquire(lock, _LOOK_SECONDS)
    except Timeout:
        raise RuntimeError(
            f"{what} is being searched by another process: wait for it, or begin another with "
            "--study NAME"
        ) from None
    return lock
