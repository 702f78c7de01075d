"""Reads one file of ratings or interactions, by path, into validated columns.

Files: delimited text, plain or compressed (see `delimited`), or parquet. The columns and the values
they may hold are those of `columns`. Text ids are kept as written ("1.0" is the text "1.0"), and a
column of ids is text where at least one of them is not an integer. Parts of a second order the
rows and are then dropped.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from ncf.data.columns import RULES, USUAL_NAMES, Columns, convert, find_columns, in_milliseconds
from ncf.data.delimited import (
    DAMAGED,
    find_layout,
    first_bad_line,
    read_batches,
    role_not_converted,
)
from ncf.data.interactions import OwnIds

__all__ = ["Columns", "Ratings", "read_ratings"]

_log = logging.getLogger(__name__)


class Ratings(NamedTuple):
    """The columns of a file, each (rows,), in the file's order."""

    user_ids: OwnIds
    item_ids: OwnIds
    timestamps: NDArray[np.int64] | None
    """Seconds since 1970; None where the file has no times."""


def read_ratings(
    path: Path, columns: Columns = USUAL_NAMES, min_rating: float | None = None
) -> Ratings:
    """Returns the rows with a rating of at least `min_rating`; all rows where it is None.

    Raises:
        FileNotFoundError: Where there is no such file.
        ValueError: Where the file, a line or a value breaks a rule; it says where, and what to do.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise ValueError(f"{path}: not a file; give the path of one file of ratings")
    if min_rating is not None and not math.isfinite(min_rating):
        raise ValueError(f"min_rating must be a finite number, got {min_rating}")
    read = _read_parquet if path.suffix.lower() in (".parquet", ".pq") else _read_text
    try:
        parts = read(path, columns, min_rating)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(
            f"{path}: damaged, cut short or locked ({error}); fetch it again, or unpack it"
        ) from error
    if parts.n_rows == 0:
        raise ValueError(f"{path}: no rows after the header; give a file with users and items")
    if sum(map(len, parts.values["user"])) == 0:
        raise ValueError(
            f"{path}: no rating reaches min_rating={min_rating}; the highest is "
            f"{parts.highest}, so lower min_rating"
        )
    user_ids, item_ids = _join_ids(parts.values.pop("user")), _join_ids(parts.values.pop("item"))
    if "timestamp" not in parts.values:
        return Ratings(user_ids, item_ids, None)
    exact = np.concatenate(parts.values.pop("timestamp"))
    if exact.dtype == np.int64:
        return Ratings(user_ids, item_ids, exact)
    seconds = np.floor(exact).astype(np.int64)
    if (seconds != exact).any():
        order = np.argsort(exact, kind="stable")
        return Ratings(user_ids[order], item_ids[order], seconds[order])
    return Ratings(user_ids, item_ids, seconds)


class _Parts(NamedTuple):
    """What is kept of a file."""

    values: dict[str, list[Any]]
    """By role, one array per batch."""
    n_rows: int
    """Rows in the file, before `min_rating`."""
    highest: float
    """The highest rating; minus infinity where there is none."""


def _read_parquet(path: Path, columns: Columns, min_rating: float | None) -> _Parts:
    try:
        file = pa.parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _torn_parquet(path, error) from error
    with file:
        names = file.schema_arrow.names
        places = find_columns(names, columns, f"{path}")
        _check_min_rating(path, places, min_rating)
        wanted = [names[place] for place in places.values()]
        batches = (
            pa.RecordBatch.from_arrays([batch[name] for name in wanted], names=list(places))
            for batch in file.iter_batches(columns=wanted)
        )
        try:
            return _collect(path, batches, min_rating)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _torn_parquet(path, error) from error
        except ValueError as error:
            raise ValueError(f"{path}, {error}") from error


def _torn_parquet(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: not a whole parquet file ({error}); write it again")


def _read_text(path: Path, columns: Columns, min_rating: float | None) -> _Parts:
    layout = find_layout(path, columns)
    _check_min_rating(path, layout.places, min_rating)
    # A column is read as the first type, and all is read again where that does not fit.
    text = pa.dictionary(pa.int32(), pa.string())
    kinds = {
        "user": [pa.int64(), text],
        "item": [pa.int64(), text],
        "rating": [pa.float64()],
        "timestamp": [pa.int64(), pa.float64(), pa.string()],
    }
    while True:
        types = {role: kinds[role][0] for role in layout.places}
        try:
            return _collect(path, read_batches(layout, types), min_rating)
        except ValueError as error:  # with it pyarrow's own
            role = role_not_converted(layout, error)
            if role is None or len(kinds[role]) == 1:
                message = first_bad_line(layout) or f"{path}: {error}; correct the file"
                raise ValueError(message) from error
            del kinds[role][0]


def _check_min_rating(path: Path, places: Mapping[str, int], min_rating: float | None) -> None:
    if min_rating is not None and "rating" not in places:
        raise ValueError(
            f"{path}: min_rating={min_rating} needs a rating column, and there is none; "
            "name it: --columns rating=..., or leave min_rating out"
        )


def _collect(path: Path, batches: Iterable[pa.RecordBatch], min_rating: float | None) -> _Parts:
    """Returns the validated and kept rows of batches whose columns are named by role.

    Raises:
        ValueError: "row 17: ...", counted from 1, of the first row that breaks a rule.
    """
    kept: dict[str, list[Any]] = {}
    n_rows, highest = 0, -math.inf
    for batch in batches:
        values = {}
        for role, column in zip(batch.schema.names, batch.columns, strict=True):
            values[role], bad = convert(role, column)
            if bad.any():
                row = int(np.argmax(bad))
                raise ValueError(
                    f"row {n_rows + row + 1}: {role} {column[row].as_py()!r} {RULES[role]}"
                )
        if n_rows == 0 and "timestamp" in values and in_milliseconds(batch["timestamp"]):
            _log.info("%s: times are in milliseconds; divided by 1000", path)
        n_rows += len(batch)
        ratings = values.pop("rating", None)
        if ratings is not None and len(batch):
            highest = max(highest, float(ratings.max()))
            if min_rating is not None and not (keep := ratings >= min_rating).all():
                values = {
                    role: column[keep] if isinstance(column, np.ndarray) else column.filter(keep)
                    for role, column in values.items()
                }
        for role, column in values.items():
            kept.setdefault(role, []).append(column)
    return _Parts(kept, n_rows, highest)


def _join_ids(parts: list[Any]) -> OwnIds:
    """Returns one array of integers, or one `Categorical` of text."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    whole = pa.chunked_array(parts).unify_dictionaries()
    codes = np.concatenate([part.indices.to_numpy() for part in whole.chunks])
    return pd.Categorical.from_codes(codes, categories=whole.chunk(0).dictionary.to_pandas())
