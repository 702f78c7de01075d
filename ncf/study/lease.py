"""The lease of a study in a database: which of all machines' searches writes to the study.

The lease stands in the study itself, as one of Optuna's attributes, with a token that no other
search has and the time of the holder's last sign of life. A search takes it at its start; it takes
it from another once that gives no sign of life any more. Who has lost it, as a process that was
stopped and goes on, cannot write: a transaction is committed only if the token is still there, and
the database keeps others from changing it until then.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage
from sqlalchemy import Connection, Engine, event, func
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ncf.study.database import Database, UnreachableError
from ncf.study.holder import KEY, OLD_SECONDS, TABLE, Holder, read, row, seconds
from ncf.study.presence import Search

_logger = logging.getLogger(__name__)
BEAT_SECONDS = 10.0  # between two signs of life
_WROTE = "ncf:wrote"  # marks a connection whose transaction has written


class SupersededError(RuntimeError):
    """Another search has taken the study over."""


class Lease:
    """A search's hold on a study.

    Attributes:
        lost: Why it is lost; empty while that is not known.
    """

    def __init__(self, engine: Engine, study_id: int, study: str, search: Search) -> None:
        """Prepares to take the lease.

        Args:
            engine: The connections to the database.
            study_id: The number of the study in the database.
            study: The name of the study.
            search: The search that is to have the lease.
        """
        self._engine = engine
        self._study = study
        self._search = search
        self._token = uuid.uuid4().hex
        self._study_id = study_id
        self.lost = ""

    def take(self) -> None:
        """Takes the lease.

        Raises:
            RuntimeError: Another search has it and is alive, or has just been quicker.
        """
        with self._engine.connect() as connection:
            before = read(connection, self._study_id)
            if before is not None and not before.is_gone:
                raise RuntimeError(self._refusal(before))
            if self._write(connection, before):
                connection.commit()
                if before is not None and before.token:
                    _logger.warning("study %r is taken over from %s", self._study, before.in_words)
                return
            connection.rollback()
            quicker = read(connection, self._study_id)
        raise RuntimeError(self._refusal(quicker))

    def keep_up(self, is_over: threading.Event) -> None:
        """Gives signs of life until all is over, or the lease is lost."""
        while not is_over.wait(BEAT_SECONDS) and not self.lost:
            # A database that is away is no loss: whoever comes back to it first has the study.
            away = suppress(SQLAlchemyError, UnreachableError, SupersededError)
            with away, self._engine.begin() as connection:
                self._write(connection, self._mine(connection))

    def check(self) -> None:
        """Raises an error where it is known that the lease is lost, without asking the database.

        Raises:
            SupersededError: Another search has it.
        """
        if self.lost:
            raise SupersededError(self.lost)

    def ask(self) -> None:
        """Asks the database whether the lease is still held.

        Raises:
            SupersededError: Another search has it.
            ConnectionError: The database does not answer.
        """
        with self._engine.connect() as connection:
            self._mine(connection)

    def is_lost(self) -> bool:
        """Returns whether another search has it, as far as the database answers."""
        with suppress(SupersededError, UnreachableError, SQLAlchemyError):
            self.ask()
        return bool(self.lost)

    def allow_commit(self, connection: Connection) -> None:
        """Lets a transaction that has written be committed only where the lease is still held.

        Raises:
            SupersededError: Another search has it.
        """
        if connection.info.pop(_WROTE, False):
            self._mine(connection, is_kept=True)

    def give_back(self) -> None:
        """Leaves the study to whoever comes next."""
        with self._engine.begin() as connection:
            mine = self._mine(connection)
            self._token = ""
            self._write(connection, mine)

    def _mine(self, connection: Connection, is_kept: bool = False) -> Holder:
        """Returns the lease that this search holds.

        Args:
            connection: The connection to the database.
            is_kept: Whether nobody can take it before the transaction ends.

        Raises:
            SupersededError: Another search has it.
        """
        self.check()
        found = read(connection, self._study_id, is_kept)
        if found is not None and found.token == self._token:
            return found
        why = "the lease of this search was removed from the database"
        if found is not None:
            why = (
                "this search had given no sign of life for too long, and process "
                f"{found.search.pid} on {found.search.host} has taken it over"
            )
        self.lost = (
            f"study {self._study!r}: {why}; so it stops here, and has recorded nothing since"
        )
        raise SupersededError(self.lost)

    def _write(self, connection: Connection, before: Holder | None) -> bool:
        """Writes a sign of life of this search, unless another than before has the lease now."""
        now = connection.execute(sqlalchemy.select(func.current_timestamp())).scalar_one()
        mine = {"token": self._token, "beat": seconds(now), "search": asdict(self._search)}
        text = json.dumps(mine)
        if before is not None:
            rows = TABLE.update().where(*row(self._study_id, before.text))
            return connection.execute(rows.values(value_json=text)).rowcount == 1
        values = {"study_id": self._study_id, "key": KEY, "value_json": text}
        with suppress(IntegrityError):
            connection.execute(TABLE.insert().values(values))
            return True
        return False

    def _refusal(self, holder: Holder | None) -> str:
        who = "another process, which has just begun" if holder is None else holder.in_words
        return (
            f"study {self._study!r} is being searched by {who}: wait for it, or begin another with "
            f"--study NAME. After {OLD_SECONDS:.0f} s without a sign of life, the same command "
            "takes the study over"
        )


@contextmanager
def held(storage: BaseStorage, study: str, search: Search) -> Iterator[Lease]:
    """Makes a search the only one that writes to a database's study, while the body runs.

    Args:
        storage: The database, which `open_storage` has opened.
        study: The name of the study, which is created where it is missing.
        search: The search.

    Raises:
        RuntimeError: Another search has the study, and is alive.
    """
    assert isinstance(storage, Database)
    made = optuna.create_study(
        storage=storage, study_name=study, direction="maximize", load_if_exists=True
    )
    lease = Lease(storage.engine, made._study_id, study, search)
    lease.take()
    is_over = threading.Event()
    beats = threading.Thread(target=lease.keep_up, args=(is_over,), daemon=True, name="lease")
    listeners: dict[str, Callable[..., None]] = {
        "after_cursor_execute": _note_writing,
        "commit": lease.allow_commit,
    }
    for name, listener in listeners.items():
        event.listen(storage.engine, name, listener)
    beats.start()
    storage.is_alone = True
    try:
        yield lease
    except Exception as error:
        if lease.is_lost():  # which explains it, as where the other has ended a trial of this one
            raise SupersededError(lease.lost) from error
        raise
    finally:
        storage.is_alone = False
        is_over.set()
        beats.join(BEAT_SECONDS)
        for name, listener in listeners.items():
            event.remove(storage.engine, name, listener)
        # A lease that cannot be given back grows old, as after a kill.
        with suppress(SQLAlchemyError, UnreachableError, SupersededError):
            lease.give_back()


def _note_writing(
    connection: Connection, cursor: Any, statement: str, values: Any, context: Any, many: bool
) -> None:
    """Marks the connection of a transaction that writes."""
    if context is not None and (context.isinsert or context.isupdate or context.isdelete):
        connection.info[_WROTE] = True
