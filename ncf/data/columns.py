"""The four columns of a ratings file: what they are called, and which values they may hold.

Ids: integers (int64; so 007 and 7 are the same id) or text, never empty, without NUL characters
(numpy drops them at the end of a text).
Ratings: finite numbers.
Times: seconds or milliseconds since 1970 (what is above 1e11 is in milliseconds), or ISO 8601
dates, in UTC where they name no zone; from 1970 to 2100.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Seconds: TypeAlias = "NDArray[np.int64] | NDArray[np.float64]"

KNOWN_NAMES = {
    "user": ("user", "userid", "uid"),
    "item": (
        *("item", "itemid", "iid", "movie", "movieid", "product", "productid"),
        *("book", "bookid", "track", "trackid", "artist", "artistid"),
    ),
    "rating": ("rating", "score"),
    "timestamp": ("timestamp", "time", "datetime", "date"),
}
"""By role, in the order of a file without a header; compared as `plain` makes them."""

RULES = {
    "user": "must not be empty, nor hold a NUL; correct it or remove the row",
    "item": "must not be empty, nor hold a NUL; correct it or remove the row",
    "rating": "must be a finite number; correct it or remove the row",
    "timestamp": (
        "must be seconds or milliseconds since 1970 or an ISO 8601 date, from 1970 to 2100; "
        "correct it or remove the row"
    ),
}
"""By role, what a value must be and what to do where it is not."""

_NUMBER = r"[ \t]*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?[ \t]*"  # as pyarrow, stricter than `float`
_LAST_SECOND = 4_102_444_800  # 2100-01-01
_MILLISECONDS_ABOVE = 100_000_000_000  # as seconds the year 5138, as milliseconds 1973


@dataclass(frozen=True)
class Columns:
    """Names of a file's columns, where they are not the usual ones."""

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    timestamp: str | None = None

    @property
    def given(self) -> set[str]:
        """The names that are given."""
        return {getattr(self, field.name) for field in fields(self)} - {None}


USUAL_NAMES = Columns()


def plain(name: str) -> str:
    """Returns a name as it is compared: `userId`, `user_id` and `User ID` are the same."""
    return re.sub(r"[\s_-]", "", name).lower()


def is_known(name: str, columns: Columns) -> bool:
    """Returns whether a name is given, or is a usual one of users or items."""
    return name in columns.given or plain(name) in KNOWN_NAMES["user"] + KNOWN_NAMES["item"]


def find_columns(names: Sequence[str], columns: Columns, place: str) -> dict[str, int]:
    """Returns each role's column index: user and item always, the others where they are there.

    Raises:
        ValueError: Where a column is missing, or more than one would do.
    """
    found: dict[str, int] = {}
    for role, known in KNOWN_NAMES.items():
        wanted = getattr(columns, role)
        fitting = [
            index
            for index, name in enumerate(names)
            if (plain(name) in known if wanted is None else name == wanted)
        ]
        if len(fitting) > 1:
            called = " and ".join(repr(names[index]) for index in fitting)
            raise ValueError(
                f"{place}: {called} could each be the {role} column; "
                f"name one that is there once: --columns {role}=..."
            )
        if fitting:
            found[role] = fitting[0]
        elif wanted is not None or role in ("user", "item"):
            what = f"{role} column" if wanted is None else f"{role} column {wanted!r}"
            raise ValueError(
                f"{place}: no {what} among {', '.join(map(repr, names))}; "
                f"name it: --columns {role}=..."
            )
    return found


def convert(role: str, column: pa.Array) -> tuple[Any, NDArray[np.bool_]]:
    """Returns a column's values, and which of them break the role's rule, each (rows,).

    Ids come as integers, int32 where they fit, or as a pyarrow dictionary of text; ratings as
    float64; times as seconds, int64, or float64 where some have parts of a second.

    Raises:
        ValueError: Where the column's type does not fit its role.
    """
    if role in ("user", "item"):
        return _ids(role, column)
    if role == "timestamp":
        seconds = _seconds(column)
        bad = ~((seconds >= 0) & (seconds <= _LAST_SECOND))
        if not bad.any() and ((whole := seconds.astype(np.int64)) == seconds).all():
            seconds = whole
        return seconds, bad
    ratings = _floats(role, column)
    return ratings, ~np.isfinite(ratings)


def in_milliseconds(column: pa.Array) -> bool:
    """Returns whether a column's first value is a number that counts milliseconds."""
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return is_number and len(column) > 0 and (column[0].as_py() or 0) > _MILLISECONDS_ABOVE


def breaks_rule(role: str, text: str) -> bool:
    """Returns whether one value, as text, breaks the role's rule; the slow twin of `convert`."""
    if role in ("user", "item"):
        return text == "" or "\0" in text
    number = float(text) if re.fullmatch(_NUMBER, text, re.ASCII) else math.nan
    if role == "rating":
        return not math.isfinite(number)
    if math.isnan(number):
        return bool(convert(role, pa.array([text]))[1][0])
    return not (0 <= number <= _LAST_SECOND) and not (
        _MILLISECONDS_ABOVE < number <= _LAST_SECOND * 1000
    )


def _ids(role: str, column: pa.Array) -> tuple[Any, NDArray[np.bool_]]:
    """Returns own ids, and which of them break the rule."""
    kind = column.type
    if pa.types.is_dictionary(kind) and not _is_text(kind.value_type):
        return _ids(role, column.dictionary_decode())
    missing = _numpy(column.is_null())
    if pa.types.is_integer(kind):
        values = _numpy(pc.fill_null(column, 0).cast(pa.int64(), safe=False))
        if pa.types.is_uint64(kind) and (values < 0).any():
            raise ValueError(f"{role} ids must be below 2**63; cast the column to text")
        narrow = values.astype(np.int32)
        return (narrow if (narrow == values).all() else values), missing
    if _is_text(kind):
        column = column.dictionary_encode()
    elif not pa.types.is_dictionary(kind):
        raise ValueError(f"{role} ids must be integers or text, got {kind}; cast the column")
    column = column.cast(pa.dictionary(pa.int32(), pa.string()))
    texts = column.dictionary
    bad = _numpy(pc.or_(pc.equal(texts, ""), pc.match_substring(texts, "\0")).fill_null(True))
    if bad.any():
        missing |= bad[_numpy(column.indices.fill_null(0))]
    return column, missing


def _seconds(column: pa.Array) -> Seconds:
    """Returns seconds since 1970; not-a-number where a value is missing or no time."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_text(column.type):
        try:
            column = column.cast(pa.timestamp("us"))  # fast, for dates that name no zone
        except pa.ArrowInvalid:
            times = pd.to_datetime(column.to_pandas(), format="ISO8601", utc=True, errors="coerce")
            column = pa.array(times.dt.tz_localize(None).dt.as_unit("us"))
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        micros = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return _floats("timestamp", micros) / 1e6
    if pa.types.is_integer(column.type) and column.null_count == 0:
        seconds = _numpy(column.cast(pa.int64()))
        if len(seconds) == 0 or seconds.max() <= _MILLISECONDS_ABOVE:
            return seconds
    numbers = _floats("timestamp", column)
    return np.where(numbers > _MILLISECONDS_ABOVE, numbers / 1000, numbers)


def _floats(role: str, column: pa.Array) -> NDArray[np.float64]:
    """Returns a column of numbers; not-a-number where one is missing."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError(f"a {role} must be a number, got {column.type}; cast the column")
    return _numpy(pc.fill_null(column.cast(pa.float64(), safe=False), math.nan))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _numpy(column: pa.Array) -> NDArray[Any]:
    array: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return array


def parse_columns(option: str | None) -> Columns:
    """Reads the option `--columns`, NAME=COLUMN,....

    Raises:
        ValueError: It is written otherwise.
    """
    if option is None:
        return Columns()
    parts = option.split(",")
    pairs = dict(part.partition("=")[::2] for part in parts)
    known, called = [field.name for field in fields(Columns)], set(pairs.values()) - {""}
    if not set(pairs) <= set(known) or len(called) < len(parts):
        raise ValueError(
            f"--columns {option}: expected NAME=COLUMN,... with names of {', '.join(known)}, each "
            "name and column once"
        )
    return Columns(**pairs)
