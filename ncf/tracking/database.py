"""The file of a local MLflow store: whether it is whole, free to be written, and still the same."""

from __future__ import annotations

import logging
import re
import shlex
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock
from sqlalchemy.engine import make_url

from ncf.data.locks import held

_logger = logging.getLogger(__name__)
LOCK_SECONDS = 600.0  # how long a locked file is waited for
WORD_SECONDS = 10.0  # after which the wait is told


def file_of(tracking_uri: str) -> Path | None:
    """Returns the database file of a store; None where it is a server's or in memory."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    file = make_url(tracking_uri).database
    return Path(file) if file and file != ":memory:" else None


@contextmanager
def registry_lock(tracking_uri: str) -> Iterator[None]:
    """Lets one process of this machine at a time change the registry of a local store.

    So that whoever comes second finds the version that is there. A server has no such lock.
    """
    database = file_of(tracking_uri)
    with nullcontext() if database is None else held(FileLock(f"{database}.registry.lock")):
        yield


def check_whole(database: Path) -> None:
    """Checks that a file is a database whose tables can be read.

    Raises:
        ValueError: It is none.
    """
    try:
        with closing(sqlite3.connect(database, timeout=0)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        pass  # it is locked, or cannot be opened, which is told elsewhere
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"{database}: it is damaged, or no MLflow store ({error}); move it away, with the "
            "files beside it whose names begin with its name, and the search command makes a new "
            "one and writes into it what the studies' records have"
        ) from error


def wait_for_lock(database: Path) -> None:
    """Waits until the file can be written, and tells where that takes long.

    Raises:
        TimeoutError: Another program does not let go of it.
    """
    end = time.monotonic() + LOCK_SECONDS
    is_told = False
    while True:
        try:
            with closing(sqlite3.connect(database, timeout=WORD_SECONDS)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
            return
        except sqlite3.DatabaseError as error:
            if "locked" not in str(error):
                return  # another fault, which MLflow will tell
        if time.monotonic() > end:
            raise TimeoutError(
                f"{database}: another program has locked it for {LOCK_SECONDS:.0f} s; end that "
                "one, and give the same command again"
            )
        if not is_told:
            _logger.warning("waiting for %s, which another program has locked", database)
            is_told = True


def is_half_made(error: Exception) -> bool:
    """Returns whether MLflow failed to make tables, since some of them are there already."""
    return bool(re.search("already exists|duplicate column|no such (table|column)", str(error)))


def half_made(database: Path) -> str:
    """Returns what to do with a store whose tables MLflow was interrupted in making."""
    what = f"{database}: MLflow was interrupted while it made the tables of this store"
    n_runs = count_runs(database)
    if n_runs == 0:
        return (
            f"{what}, and cannot open it any more. It holds no runs, so that nothing is lost: "
            f"remove it (rm {shlex.quote(str(database))}*) and give the same command again"
        )
    return (
        f"{what} those of a newer MLflow, and cannot open it any more. It holds {n_runs} runs: put "
        "a copy of it from before in its place, or move it away and give the same command again, "
        "which writes what the study's record has to a new store"
    )


def count_runs(database: Path) -> int:
    """Returns how many runs a store has, also one that MLflow cannot open."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
    except sqlite3.DatabaseError:  # it has no such table yet
        return 0


def guard(tracking_uri: str) -> Callable[[], None]:
    """Returns a function that raises an error once the database file of a store is another.

    Without it, what is written to a file that was removed would be lost in silence.
    """
    database = file_of(tracking_uri)
    at_first = _identity(database)

    def check() -> None:
        if _identity(database) != at_first:
            raise FileNotFoundError(f"{database} was removed or replaced during the search")

    return check


def _identity(database: Path | None) -> tuple[int, int] | None:
    if database is None or not database.exists():
        return None
    status = database.stat()
    return status.st_dev, status.st_ino
