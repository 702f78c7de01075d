"""The file of a local MLflow store: whether it is whole, and whether another program has it."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

_logger = logging.getLogger(__name__)
LOCK_SECONDS = 600.0  # how long a locked file is waited for
WORD_SECONDS = 10.0  # after which the wait is told


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
