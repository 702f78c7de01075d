"""A new SQLite store of MLflow, which appears whole or not at all.

MLflow makes its tables in dozens of steps that take seconds, and a file in which they were
interrupted can never be opened again. So the tables are made in memory, and the file is written at
once. What was made is kept in the cache folder, from which the next new store is copied.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

import mlflow
from filelock import FileLock

from ncf.data.files import cache_folder, whole, write_whole

_logger = logging.getLogger(__name__)
_DIGEST = 32  # bytes of a SHA-256, which stand before what is kept


def make_store(database: Path) -> None:
    """Makes the file where there is none, or one without tables.

    Processes that ask at once wait for the first, which makes it.

    Raises:
        OSError: The folder cannot be written.
    """
    if _has_tables(database):
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.filelock"):
        if _has_tables(database):
            return
        for suffix in ("-wal", "-shm", "-journal"):  # SQLite would add those of a lost file to it
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        write_whole(database, _empty_store())


def _has_tables(database: Path) -> bool:
    if not database.exists():
        return False
    try:
        with closing(sqlite3.connect(database)) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    except sqlite3.DatabaseError:
        return True  # in use, or no database: MLflow will tell


def _empty_store() -> bytes:
    """Returns the content of a store without experiments, from the cache folder if it is there."""
    kept = cache_folder() / "stores" / f"{_version()}.db"
    try:
        content = kept.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
            return content[_DIGEST:]
    except OSError:
        pass
    content = _with_tables()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole(kept) as draft:
            draft.write_bytes(hashlib.sha256(content).digest() + content)
    except OSError as error:  # it would only have saved time
        _logger.info("%s: an empty store could not be kept: %s", kept, error)
    return content


def _version() -> str:
    """Returns what tells the tables of the installed MLflow from those of another."""
    steps = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    names = ",".join(sorted(path.name for path in steps.glob("*.py")))
    return f"mlflow-{mlflow.__version__}-{hashlib.sha256(names.encode()).hexdigest()[:12]}"


def _with_tables() -> bytes:
    """Returns the content of a store in which MLflow has made its tables, which takes seconds."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore("sqlite:///:memory:", "mlruns")  # type: ignore[no-untyped-call]
    with closing(store.engine.raw_connection()) as borrowed:
        connection = cast(sqlite3.Connection, borrowed.driver_connection)
        # MLflow adds its default experiment again, with the folder of whoever opens the store.
        connection.execute("DELETE FROM experiments")
        connection.commit()
        content = bytearray(connection.serialize())
    store.engine.dispose()
    # A write-ahead log spares most of the waiting for the disk. These two bytes of SQLite's header
    # are what `PRAGMA journal_mode=WAL` sets.
    content[18:20] = b"\2\2"
    return bytes(content)
