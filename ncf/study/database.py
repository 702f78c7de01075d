"""The record of studies in a database, such as PostgreSQL, which may be away for a while.

What Optuna does there is tried again, for minutes, where the database cannot be reached. Nothing is
done twice by that, though the answer to what was done may be lost.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Container
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InterfaceError, OperationalError

from ncf.redaction import one_line

_logger = logging.getLogger(__name__)
PATIENCE = 600.0  # seconds that a database is waited for
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between attempts
IDLE_SECONDS = 30  # after which PostgreSQL ends what a stopped or lost process has begun
# Of Optuna's storage, what changes more of a trial than an intermediate value.
_WRITES = (
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "delete_study",
)


class UnreachableError(ConnectionError):
    """The database does not answer, or has ended the connection."""


class Database:
    """Optuna's storage in a database, all of whose methods wait for the database.

    Attributes:
        engine: The connections to the database.
        is_alone: Whether nobody else writes to what this process reads, as while it has a lease.
    """

    def __init__(self, url: str) -> None:
        """Opens the database, without waiting for it; its tables are made where they are missing.

        Raises:
            Exception: It cannot be opened; of SQLAlchemy, of Optuna, or for a missing driver.
        """
        storage = RDBStorage(_with_driver(url), engine_kwargs={"pool_pre_ping": True})
        self.engine = storage.engine
        event.listen(self.engine, "handle_error", _as_unreachable, retval=True)
        if self.engine.dialect.name == "postgresql":
            event.listen(self.engine, "connect", _limit_idleness)
            self.engine.dispose()  # the connection that is open already has no limit
        self.is_alone = False
        self._storage = get_storage(storage)  # reads ended trials once
        self._trials: dict[int, list[FrozenTrial]] = {}  # by study, as long as nothing is written

    def __getattr__(self, name: str) -> Any:
        """Returns a method of Optuna's storage that waits for the database."""
        found = getattr(self._storage, name)
        if name == "create_new_trial":
            found = partial(self._create_trial, found)
        elif name == "get_all_trials":
            found = partial(self._read_trials, found)
        if not callable(found):
            return found
        return partial(self._write if name in _WRITES else _patiently, found)

    def _write(self, operation: Callable[..., Any], *values: Any, **named: Any) -> Any:
        try:
            return _patiently(operation, *values, **named)
        finally:
            self._trials.clear()

    def _read_trials(
        self,
        read: Callable[..., list[FrozenTrial]],
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Reads a study's trials, which takes tens of milliseconds, only where they have changed.

        A running trial's intermediate values may be older: they count once it has ended.
        """
        if deepcopy or states is not None or not self.is_alone:
            return read(study_id, deepcopy, states)
        if study_id not in self._trials:
            self._trials[study_id] = read(study_id, deepcopy, states)
        return [*self._trials[study_id]]

    def _create_trial(self, create: Callable[..., int], study_id: int, **template: Any) -> int:
        """Creates a trial once, given that this process alone creates trials of the study."""
        read = partial(self._storage.get_all_trials, study_id, deepcopy=False)
        n_before = len(_patiently(read))
        n_attempts = itertools.count()

        def create_unless_done() -> int:
            if next(n_attempts) > 0 and len(trials := read()) > n_before:
                return trials[-1]._trial_id
            return create(study_id, **template)

        return int(self._write(create_unless_done))


def _patiently(operation: Callable[..., Any], *values: Any, **named: Any) -> Any:
    """Returns what an operation returns, which is tried again where the database is away.

    Raises:
        ConnectionError: The database stays away.
    """
    pause, end, is_repeated = FIRST_PAUSE, time.monotonic() + PATIENCE, False
    while True:
        try:
            result = operation(*values, **named)
        except UpdateFinishedTrialError:
            if not is_repeated:
                raise
            result = True  # an attempt whose answer was lost has ended the trial
        except UnreachableError as error:
            if time.monotonic() > end:
                raise ConnectionError(
                    f"--storage: the database cannot be reached for {PATIENCE:.0f} s ({error}); "
                    "see that it runs, and the same command goes on from here"
                ) from error
            if not is_repeated:
                _logger.warning("waiting for the database of the study's record: %s", error)
            is_repeated = True
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        if is_repeated:
            _logger.warning("the database of the study's record is back")
        return result


def _as_unreachable(context: ExceptionContext) -> Exception | None:
    """Returns the error for a connection that is lost or cannot be made; None for other errors.

    Optuna would take it for invalid data else, and would create a trial again that is there.
    """
    error = context.sqlalchemy_exception
    is_lost = context.is_disconnect or context.connection is None
    if is_lost and isinstance(error, OperationalError | InterfaceError):
        return UnreachableError(one_line(context.original_exception)[:300])
    return None


def _limit_idleness(connection: DBAPIConnection, _: object) -> None:
    """Has PostgreSQL end a transaction whose process has been stopped or lost in its midst.

    Else the rows that it has locked would stay so for whoever takes the study over.
    """
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
    connection.commit()


def _with_driver(url: str) -> str:
    """Returns a URL of PostgreSQL with the driver of the extra, where it names none."""
    address = make_url(url)
    if address.drivername == "postgresql" and find_spec("psycopg"):
        address = address.set(drivername="postgresql+psycopg")
    return address.render_as_string(hide_password=False)
