"""Who searches a study in a database, as its lease says, which stands in the study itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import optuna
import sqlalchemy
from sqlalchemy import ColumnElement, Connection, column, func

from ncf.study.database import Database
from ncf.study.presence import Search

OLD_SECONDS = 60.0  # without a sign of life, after which another search may take a study over
KEY = "ncf:lease"
TABLE = sqlalchemy.table(  # Optuna's, which holds the attributes of studies
    "study_system_attributes", column("study_id"), column("key"), column("value_json")
)


@dataclass(frozen=True)
class Holder:
    """Who has a study's lease.

    Attributes:
        token: Tells this search from all others; empty once it has given the lease back.
        search: The search.
        beat: Its last sign of life by the database's clock, in seconds since 1970.
        silence: The seconds since then, when this was read.
        text: This, as it stands in the database.
    """

    token: str
    search: Search
    beat: float
    silence: float
    text: str

    @property
    def is_gone(self) -> bool:
        """Whether it gave the lease back, gave no sign of life for long, or was a process here."""
        return not self.token or self.silence > OLD_SECONDS or self.search.has_ended

    @property
    def in_words(self) -> str:
        """Which process it is, since when, and when it last gave a sign of life."""
        began = datetime.fromtimestamp(self.search.began, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return (
            f"process {self.search.pid} on {self.search.host}, since {began} (last sign of life "
            f"{max(self.silence, 0):.0f} s ago)"
        )


def holder_of(study: optuna.Study) -> Holder | None:
    """Returns who has a study's lease; None where nobody has, or whoever had it is gone."""
    if not isinstance(study._storage, Database):
        return None
    with study._storage.engine.connect() as connection:
        found = read(connection, study._study_id)
    return None if found is None or found.is_gone else found


def read(connection: Connection, study_id: int, is_kept: bool = False) -> Holder | None:
    """Returns who has a study's lease, or had it last.

    Args:
        connection: The connection to the database.
        study_id: The number of the study there.
        is_kept: Whether nobody can take it before the transaction ends.
    """
    query = sqlalchemy.select(TABLE.c.value_json, func.current_timestamp()).where(*row(study_id))
    found = connection.execute(query.with_for_update(read=True) if is_kept else query).first()
    if found is None:
        return None
    text, now = found
    values = json.loads(text)
    beat = float(values["beat"])
    return Holder(values["token"], Search(**values["search"]), beat, seconds(now) - beat, text)


def row(study_id: int, text: str | None = None) -> list[ColumnElement[bool]]:
    """Returns the conditions for the row of a study's lease, and that it holds a text."""
    conditions = [TABLE.c.study_id == study_id, TABLE.c.key == KEY]
    return conditions if text is None else [*conditions, TABLE.c.value_json == text]


def seconds(now: datetime) -> float:
    """Returns a time of the database's clock in seconds; one without a zone counts as UTC."""
    return (now if now.tzinfo else now.replace(tzinfo=UTC)).timestamp()
