"""Reads a file of ratings or interactions, by path, into validated columns.

Files: delimited text (see `layout` and `delimited`), JSON (`json_lines`) or parquet (`parquet`).
Own ids and times are read as `ids` and `times` say; ratings are finite numbers. Parts of a second
order the rows and are then dropped.
"""

import logging
import math
import re
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ncf.data import json_lines, parquet
from ncf.data.columns import USUAL_NAMES, Columns
from ncf.data.delimited import read_batches
from ncf.data.empty_cells import EmptyCells, are_empty, rule_of_empty
from ncf.data.files import files_of
from ncf.data.ids import join_ids, read_ids, remarks_on_ids
from ncf.data.interactions import OwnIds
from ncf.data.labels import labels_of
from ncf.data.layout import find_layout
from ncf.data.meaning import check_meaning, check_one_header, describe, remarks_on_times
from ncf.data.rating_values import read_rating_values
from ncf.data.sources import Batch, Collected, Source
from ncf.data.streams import DAMAGED
from ncf.data.times import Times, last_second, read_times

__all__ = ["Columns", "Ratings", "read_ratings"]

_log = logging.getLogger(__name__)

_RULES = {
    "user": "must not hold a NUL; correct it or remove the row",
    "item": "must not hold a NUL; correct it or remove the row",
    "rating": "must be a finite number; correct it or remove the row",
    "timestamp": (
        "must be seconds or milliseconds since 1970, an ISO 8601 date, or DD.MM.YYYY, from 1970 to "
        "2100 (of 3/4/2021 it is not known which is the day); correct it or remove the row"
    ),
}


@dataclass(frozen=True)
class Ratings:
    """The rows of a file that count, each column (rows,), in the file's order."""

    user_ids: OwnIds
    item_ids: OwnIds
    timestamps: NDArray[np.int64] | None
    """Seconds since 1970; None where the file has no times."""
    n_rows: int
    """Rows of the file, with those that are left out."""
    n_empty: int
    """Rows that are left out for an empty cell."""
    columns_read: tuple[str, ...]
    """Which column was taken as what, one line each."""
    notes: tuple[str, ...]
    """What was assumed of the file's layout, one line each."""
    remarks: tuple[str, ...]
    """What a person should know of the values, one line each."""


def read_ratings(
    path: Path,
    columns: Columns = USUAL_NAMES,
    min_rating: float | None = None,
    drop_empty: bool = False,
) -> Ratings:
    """Returns the rows with a rating of at least `min_rating`; all rows where it is None.

    With `drop_empty`, rows in which a cell of these columns is empty are left out and counted;
    without it, they are an error.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file, a line or a value breaks a rule; it says where, and what to do.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; check the path")
    if min_rating is not None and not math.isfinite(min_rating):
        raise ValueError(f"min_rating must be a finite number, got {min_rating}")
    try:
        source = _open(path, columns)
        if min_rating is not None and "rating" not in source.places:
            raise ValueError(
                f"{path}: min_rating={min_rating} needs a rating column, and there is none; "
                "name it: --columns rating=..., or leave min_rating out"
            )
        left_out = EmptyCells() if drop_empty else None
        found = _collect(source, min_rating, left_out)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(
            f"{path}: damaged, cut short or locked ({error}); fetch it again, or unpack it"
        ) from error
    if found.n_rows == 0:
        raise ValueError(f"{path}: no rows after the header; give a file with users and items")
    if not found.values:
        raise ValueError(f"{path}: every row has an empty cell; check which columns are read")
    if sum(map(len, found.values["user"])) == 0:
        raise ValueError(
            f"{path}: no rating reaches min_rating={min_rating}; the highest is "
            f"{found.highest}, so lower min_rating"
        )
    check_meaning(path, source, columns, min_rating, found)
    columns_read = describe(source, found, min_rating)
    if left_out is not None:
        columns_read = (*columns_read, left_out.in_words(found.n_rows))
    n_empty = 0 if left_out is None else left_out.n_rows
    user_ids = join_ids(found.values.pop("user"), source.is_typed)
    item_ids = join_ids(found.values.pop("item"), source.is_typed)
    check_one_header(path, source, user_ids, item_ids)
    remarks = (
        *remarks_on_times(source),
        *remarks_on_ids("user", user_ids),
        *remarks_on_ids("item", item_ids),
    )
    seconds = None
    if "timestamp" in found.values:
        seconds, order = _join_times(found.values.pop("timestamp"))
        if order is not None:
            user_ids = user_ids[order]
            item_ids = item_ids[order]
    read = columns_read, source.notes, remarks
    return Ratings(user_ids, item_ids, seconds, found.n_rows, n_empty, *read)


def _open(path: Path, columns: Columns) -> Source:
    if parquet.is_parquet(path):
        return parquet.open_parquet(path, columns)
    files = files_of(path)  # of parts, some may be empty
    files = [file for file in files if file.stat().st_size > 0] or files[:1]
    sources = [_open_text(file, columns) for file in files]
    first = sources[0]
    for other in sources[1:]:
        if (other.places, other.names) != (first.places, first.names):
            raise ValueError(f"{path}: the files have different columns; give parts of one table")
    return replace(first, batches=chain.from_iterable(source.batches for source in sources))


def _open_text(path: Path, columns: Columns) -> Source:
    if json_lines.is_json(path):
        return json_lines.open_json(path, columns)
    layout = find_layout(path, columns)
    batches = read_batches(layout)
    has_commas = layout.delimiter == ";"  # as a spreadsheet separates where a comma is decimal
    return Source(layout.places, layout.names, False, layout.notes, batches, has_commas)


def _collect(source: Source, min_rating: float | None, left_out: EmptyCells | None) -> Collected:
    """Returns the validated and kept rows of a file.

    Args:
        source: The file.
        min_rating: The lowest rating of a row that is kept; None keeps all.
        left_out: Counts the rows with an empty cell, which are left out; None refuses them.

    Raises:
        ValueError: A row breaks a rule; the first one of the file.
    """
    found = Collected()
    for whole in source.batches:
        batch = whole if left_out is None else left_out.leave_out(whole)
        found.n_rows += len(whole.columns["user"])
        if not len(batch.columns["user"]):
            continue
        values = _values(source, batch)
        if not found.examples:
            found.take_examples(batch.columns, values.get("timestamp"))
        labels = batch.columns.get("label")
        if labels is not None and len(found.labels) < 20:
            found.labels |= labels_of(pc.unique(labels).to_pylist()[:20])
        if "timestamp" in values:
            found.latest = max(found.latest, last_second(values["timestamp"]))
        ratings = values.pop("rating", None)
        if ratings is not None:
            found.lowest = min(found.lowest, float(ratings.min()))
            found.highest = max(found.highest, float(ratings.max()))
            found.are_signs &= bool(np.isin(ratings, (-1, 0, 1)).all())
            if min_rating is not None and not (keep := ratings >= min_rating).all():
                values = {
                    role: column[keep] if isinstance(column, np.ndarray) else column.filter(keep)
                    for role, column in values.items()
                }
        for role, column in values.items():
            found.values.setdefault(role, []).append(column)
    return found


def _values(source: Source, batch: Batch) -> dict[str, Any]:
    values: dict[str, Any] = {}
    first_bad: tuple[int, str] | None = None
    for role, column in batch.columns.items():
        if role == "label":
            continue
        try:
            if role in ("user", "item"):
                values[role], bad = read_ids(role, column, source.is_typed)
            elif role == "timestamp":
                values[role], bad = read_times(column)
            else:
                values[role] = read_rating_values(column, source.has_decimal_commas)
                bad = ~np.isfinite(values[role])
        except ValueError as error:
            raise ValueError(f"{batch.path}, {error}") from error
        if bad.any() and (first_bad is None or np.argmax(bad) < first_bad[0]):
            first_bad = (int(np.argmax(bad)), role)
    if first_bad is not None:
        row, role = first_bad
        value = repr(batch.columns[role][row].as_py())
        if len(value) > 80:
            value = f"{value[:80]}..."
        notes = "".join(f"; {note}" for note in source.notes)
        rule = _RULES[role]
        if role == "rating" and re.fullmatch(r"'\s*[-+]?\d+,\d+\s*'", value):
            rule = "has a comma; where it is decimal, write a dot for it in all ratings, as in 7.25"
        if are_empty(batch.columns[role])[row]:
            rule = rule_of_empty(chain([batch], source.batches))
        raise ValueError(f"{batch.path}, {batch.place(row)}: {role} {value} {rule}{notes}")
    return values


def _join_times(parts: list[Times]) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Returns seconds, and the order that parts of a second give the rows, None for the file's."""
    if all(part.dtype == np.int64 for part in parts):
        return np.concatenate(parts), None
    # a batch without parts of seconds has integers; joined, all are in the finer unit
    times = [part.astype("datetime64[s]") if part.dtype == np.int64 else part for part in parts]
    exact = np.concatenate(times).astype("datetime64[ns]").astype(np.int64)
    order = np.argsort(exact, kind="stable")
    return exact[order] // 10**9, order
