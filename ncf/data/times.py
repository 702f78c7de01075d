"""When something happened, in whatever way a file writes it.

Numbers count from 1970: seconds up to 1e11, above that milliseconds, above 1e14 microseconds,
above 1e17 nanoseconds. Where half the numbers of a column are such as 20170215, it holds dates.
Text is an ISO 8601 date, perhaps with a time, a zone, ` UTC`, or slashes for dashes, a date with
dots, which has the day first, as `3.4.2012 18:00`, or a date that has the month by its English
name, as `Tue Apr 03 18:00:09 +0000 2012`. Of `3/4/2012` nobody can tell which is the day. Times
that name no zone are in UTC. All are from 1970 to 2100.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Times: TypeAlias = "NDArray[np.int64] | NDArray[np.datetime64]"
"""Seconds since 1970, or datetime64[ns] where some have parts of a second."""

LAST_SECOND = 4_102_444_800  # 2100-01-01
_MISSING = np.iinfo(np.int64).min
_NAMED_MONTHS = (
    "%a %b %d %H:%M:%S %z %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%Y-%m-%d %I:%M:%S %p",
)

_AS_ISO = (
    (r"^(\d{4})/(\d{2})/(\d{2})", r"\1-\2-\3"),
    (r"^(\d\.\d{1,2}\.\d{4})", r"0\1"),
    (r"^(\d{2}\.)(\d\.\d{4})", r"\10\2"),
    (r"^(\d{2})\.(\d{2})\.(\d{4}),?", r"\3-\2-\1"),
)
"""How a date is written, and what it is in ISO 8601, for pyarrow."""

# What is above the first number counts in units of 10**-second seconds.
_UNITS = ((10**17, 9), (10**14, 6), (10**11, 3))
_UNIT_NAMES = {9: "nanoseconds", 6: "microseconds", 3: "milliseconds"}


def read_times(column: pa.Array) -> tuple[Times, NDArray[np.bool_]]:
    """Returns a column's times, and which of its values are none, each (rows,).

    Raises:
        ValueError: The column's type cannot hold times.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_times(column.dictionary_decode())
    if str(kind) in ("string", "large_string", "string_view"):
        nanoseconds = _of_text(column.cast(pa.string()))
    elif pa.types.is_timestamp(kind):
        nanoseconds = _scaled(_integers(column.cast(pa.timestamp(kind.unit))), kind.unit)
    elif pa.types.is_date(kind):
        days = _integers(column.cast(pa.date32()).cast(pa.int32()))  # pyarrow has no way to int64
        nanoseconds = _checked(days, 86_400 * 10**9)
    elif pa.types.is_integer(kind):
        nanoseconds = _of_integers(_integers(column))
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        nanoseconds = _of_floats(_floats(column))
    elif pa.types.is_null(kind):
        nanoseconds = np.full(len(column), _MISSING)
    else:
        raise ValueError(f"a timestamp must be a number or a date, got {kind}; cast the column")
    is_bad = nanoseconds == _MISSING
    seconds = nanoseconds // 10**9
    if is_bad.any() or (seconds * 10**9 == nanoseconds).all():
        return seconds, is_bad
    return nanoseconds.astype("datetime64[ns]"), is_bad


def last_second(times: Times) -> int:
    """Returns the latest of times in seconds since 1970."""
    return int(np.asarray(times.max(), "datetime64[s]").astype(np.int64))


def resolution_of(times: NDArray[np.int64]) -> int:
    """Returns how many seconds apart the moments are that times can tell: 86,400, 60 or 1.

    >>> resolution_of(np.array([0, 172_800])), resolution_of(np.array([0, 1_020]))
    (86400, 60)
    """
    return next((step for step in (86_400, 60) if not (times % step).any()), 1)


def unit_of(value: Any) -> str | None:
    """Returns the unit of a number of the file, where it is not seconds; None for all else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    for above, digits in _UNITS:
        if number > above:
            return _UNIT_NAMES[digits]
    return None


def in_words(second: int) -> str:
    """Returns a time as a person writes it, in UTC."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(second))
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _of_integers(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns nanoseconds since 1970; the least integer stands for what is no time."""
    if (dates := _of_dates(numbers)) is not None:
        return dates
    nanoseconds = _checked(numbers, 10**9)
    for above, digits in _UNITS[::-1]:
        is_finer = numbers > above
        if is_finer.any():
            nanoseconds = np.where(is_finer, _checked(numbers, 10 ** (9 - digits)), nanoseconds)
    return nanoseconds


def _of_dates(numbers: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Returns nanoseconds of numbers such as 20170215, None where most are no dates.

    As seconds they are of August 1970. Of numbers that count rows, one in 27 is a date.
    """
    is_near = (numbers >= 19_700_101) & (numbers <= 20_991_231) & (numbers % 1 == 0)
    n_numbers = len(numbers) - np.count_nonzero(np.isnan(numbers))
    if not n_numbers or 2 * np.count_nonzero(is_near) < n_numbers:
        return None
    written = pd.Series(numbers[is_near].astype(np.int64).astype(str))
    days = pd.to_datetime(written, format="%Y%m%d", errors="coerce")
    if 2 * days.notna().sum() < n_numbers:
        return None
    nanoseconds = np.full(len(numbers), _MISSING)
    nanoseconds[is_near] = days.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return nanoseconds


def _of_floats(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    if (dates := _of_dates(numbers)) is not None:
        return dates
    for above, digits in _UNITS:
        numbers = np.where(numbers > above, numbers / 10**digits, numbers)
    is_good = (numbers >= 0) & (numbers <= LAST_SECOND)
    numbers = np.where(is_good, numbers, 0)
    seconds = np.floor(numbers).astype(np.int64)
    # A double of today's seconds is exact to a quarter of a microsecond.
    parts = np.round((numbers - seconds) * 1e6).astype(np.int64) * 1000
    return np.where(is_good, seconds * 10**9 + parts, _MISSING)


def _of_text(column: pa.Array) -> NDArray[np.int64]:
    for kind in (pa.int64(), pa.float64()):
        try:
            return read_nanoseconds(column.cast(kind))
        except pa.ArrowInvalid:
            pass
    texts = pc.utf8_trim_whitespace(column)
    texts = pc.replace_substring_regex(texts, " ?(UTC|GMT)$", "")
    for written, as_iso in _AS_ISO:
        texts = pc.replace_substring_regex(texts, written, as_iso)
    for unit, zone in (("us", None), ("us", "UTC"), ("ns", None), ("ns", "UTC")):
        try:
            return read_nanoseconds(texts.cast(pa.timestamp(unit, zone)))
        except pa.ArrowInvalid:
            pass
    return _of_mixed_text(texts)


def _of_mixed_text(texts: pa.Array) -> NDArray[np.int64]:
    """Returns nanoseconds of values that are not all written in one way."""
    written = texts.to_pandas()
    numbers = pd.to_numeric(written, errors="coerce").to_numpy(np.float64)
    times = pd.to_datetime(written, format="ISO8601", utc=True, errors="coerce")
    for form in _NAMED_MONTHS:
        left = times.isna() & written.notna()
        if not left.any():
            break
        times[left] = pd.to_datetime(written[left], format=form, utc=True, errors="coerce")
    plain = times.dt.tz_localize(None).dt.as_unit("us").to_numpy()  # what is no time is negative
    nanoseconds = _checked(plain.astype(np.int64), 1000)
    return np.where(np.isnan(numbers), nanoseconds, _of_floats(numbers))


def read_nanoseconds(column: pa.Array) -> NDArray[np.int64]:
    """Returns the times of numbers or of pyarrow's timestamps in nanoseconds."""
    if pa.types.is_timestamp(column.type):
        return _scaled(_integers(column.cast(pa.timestamp(column.type.unit))), column.type.unit)
    if pa.types.is_floating(column.type):
        return _of_floats(_floats(column))
    return _of_integers(_integers(column))


def _scaled(numbers: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    return _checked(numbers, {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}[unit])


def _checked(numbers: NDArray[np.int64], factor: int) -> NDArray[np.int64]:
    """Returns numbers times factor, where that is a time from 1970 to 2100."""
    is_good = (numbers >= 0) & (numbers <= LAST_SECOND * 10**9 // factor)
    return np.where(is_good, np.where(is_good, numbers, 0) * factor, _MISSING)


def _integers(column: pa.Array) -> NDArray[np.int64]:
    numbers = pc.fill_null(column.cast(pa.int64(), safe=False), _MISSING)
    array: NDArray[np.int64] = numbers.to_numpy(zero_copy_only=False)
    return array


def _floats(column: pa.Array) -> NDArray[np.float64]:
    numbers = pc.fill_null(column.cast(pa.float64(), safe=False), float("nan"))
    array: NDArray[np.float64] = numbers.to_numpy(zero_copy_only=False)
    return array
