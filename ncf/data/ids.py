"""Own ids of users and items: integers where all of them print back as they stand, else text.

Blanks round an id are no part of it. `007`, `0x41a` and `9.06E+17` are text, so that `7` and `007`
are two ids; whole floats (`1056.0`, as pandas writes integers with gaps) are integers. An id is
never empty and has no NUL character, since numpy drops NULs at the end of a text.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ncf.data.labels import MISSING_WORDS

Part: TypeAlias = "NDArray[np.int32] | NDArray[np.int64] | pa.DictionaryArray"
"""Own ids of some rows of a file."""

BLANKS = " \t\r\n\v\f\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
BLANKS += "\u2028\u2029\u200b\u202f\u205f\u3000\ufeff"
"""What is cut off both ends of an id."""
_WHOLE = r"^(0|-?[1-9][0-9]{0,15})(\.0+)?$"
_LOST_DIGITS = r"^[0-9](\.[0-9]+)?[eE]\+[0-9]+$"
_INEXACT = r"^-?[0-9]{16,}\.0+$"  # a whole float that is too large to be exact
_EXACT_BELOW = 2**53  # as doubles


def read_ids(role: str, column: pa.Array, is_typed: bool) -> tuple[Part, NDArray[np.bool_]]:
    """Returns own ids, and which of them are missing or break the rule, each (rows,).

    Args:
        role: "user" or "item", for errors.
        column: The ids as they were read.
        is_typed: Whether the file tells numbers and text apart, so that text stays text.

    Raises:
        ValueError: The column's type cannot hold ids.
    """
    kind = column.type
    if pa.types.is_dictionary(kind) and not _is_text(kind.value_type):
        return read_ids(role, column.dictionary_decode(), is_typed)
    missing: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind):
        if pa.types.is_uint64(kind) and (pc.max(column).as_py() or 0) >= 2**63:
            raise ValueError(f"{role} ids must be below 2**63; cast the column to text")
        return _narrow(pc.fill_null(column, 0).cast(pa.int64()).to_numpy()), missing
    if pa.types.is_floating(kind):
        return _of_floats(role, column), missing | np.isnan(_numpy(column))
    if pa.types.is_decimal(kind) and kind.scale == 0:  # as data bases write whole numbers
        return read_ids(role, column.cast(pa.string()), is_typed=False)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return read_ids(role, _decoded(role, column), is_typed)
    if _is_text(kind):
        column = column.dictionary_encode()
    elif not pa.types.is_dictionary(kind):
        raise ValueError(f"{role} ids must be integers or text, got {kind}; cast the column")
    column = _without_blanks(column.cast(pa.dictionary(pa.int32(), pa.string())))
    texts = column.dictionary
    bad = _numpy(pc.or_(pc.equal(texts, ""), pc.match_substring(texts, "\0")).fill_null(True))
    if bad.any():
        return column, missing | bad[_numpy(column.indices.fill_null(0))]
    numbers = None if is_typed or missing.any() else _printed_back(texts)
    if numbers is None:
        return column, missing
    return numbers[_numpy(column.indices)], missing


def join_ids(parts: list[Part], is_typed: bool) -> NDArray[Any] | pd.Categorical:
    """Returns the ids of all rows: one array of integers, or one `Categorical` of text."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate([np.asarray(part) for part in parts])
    texts = pa.chunked_array([_as_text(part) for part in parts]).unify_dictionaries()
    codes = np.concatenate([part.indices.to_numpy() for part in texts.chunks])
    values: pa.Array = texts.chunk(0).dictionary
    if not is_typed:
        numbers = _whole_numbers(values)
        if numbers is not None:
            own: NDArray[Any] = numbers[codes]
            return own
    return pd.Categorical.from_codes(codes, categories=values.to_pandas())


def remarks_on_ids(role: str, ids: NDArray[Any] | pd.Categorical) -> list[str]:
    """Returns what a person should know of ids that may be none or may have lost digits."""
    found: list[str] = []
    lost: list[str] = []
    missing: dict[str, int] = {}
    if isinstance(ids, pd.Categorical):
        values = pa.array(ids.categories, pa.string())
        is_word = pc.is_in(pc.utf8_lower(values), value_set=pa.array(MISSING_WORDS))
        for code in np.flatnonzero(_numpy(is_word)).tolist():
            n_rows = int(np.count_nonzero(ids.codes == code))
            missing |= {ids.categories[code]: n_rows} if n_rows else {}
        looks_lost = pc.match_substring_regex(values, f"{_LOST_DIGITS}|{_INEXACT}")
        lost = values.filter(looks_lost).to_pylist()
    elif ids.min() == -1:
        missing = {"-1": int((ids == -1).sum())}
    for value, n_rows in missing.items():
        found.append(
            f"{n_rows:,} rows have the {role} {value!r}, which often stands for none, and count as "
            f"one {role}; if it is none, remove the rows"
        )
    if lost:
        found.append(
            f"{len(lost):,} {role} ids such as {lost[0]!r} look like numbers that lost digits in a "
            "spreadsheet or as floats, so that several may have become one; export them as text"
        )
    return found


def _narrow(values: NDArray[np.int64]) -> NDArray[np.int32] | NDArray[np.int64]:
    narrow = values.astype(np.int32)
    return narrow if (narrow == values).all() else values


def _of_floats(role: str, column: pa.Array) -> NDArray[np.int32] | NDArray[np.int64]:
    values = np.nan_to_num(_numpy(column).astype(np.float64), posinf=0.5)
    if (np.floor(values) != values).any() or (np.abs(values) >= _EXACT_BELOW).any():
        raise ValueError(
            f"{role} ids must be integers or text, got {column.type} that is not whole, or is "
            "beyond 2**53; cast the column"
        )
    return _narrow(values.astype(np.int64))


def _decoded(role: str, column: pa.Array) -> pa.Array:
    """Returns bytes as text, which some writers of parquet do not mark as such."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise ValueError(f"{role} ids are bytes that are not UTF-8; cast the column") from error


def _without_blanks(column: pa.DictionaryArray) -> pa.DictionaryArray:
    texts = pc.utf8_trim(column.dictionary, characters=BLANKS)
    if texts.equals(column.dictionary):
        return column
    texts = texts.dictionary_encode()  # as " 7" and "7" are one
    indices = texts.indices.take(column.indices)
    return pa.DictionaryArray.from_arrays(indices, texts.dictionary)


def _printed_back(texts: pa.Array) -> NDArray[np.int32] | NDArray[np.int64] | None:
    """Returns texts as integers where each prints back as it stands, else None."""
    try:
        numbers = texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    return _narrow(_numpy(numbers)) if numbers.cast(pa.string()).equals(texts) else None


def _whole_numbers(texts: pa.Array) -> NDArray[np.int32] | NDArray[np.int64] | None:
    """Returns texts as integers where each is an integer or a whole float, else None."""
    if not pc.all(pc.match_substring_regex(texts, _WHOLE)).as_py():
        return None
    numbers = _numpy(pc.replace_substring_regex(texts, r"\.0+$", "").cast(pa.int64()))
    is_inexact = (np.abs(numbers) >= _EXACT_BELOW) & _numpy(pc.match_substring(texts, "."))
    return None if is_inexact.any() else _narrow(numbers)


def _as_text(part: Part) -> pa.DictionaryArray:
    if not isinstance(part, np.ndarray):
        return part
    text = pa.array(part).dictionary_encode()
    return pa.DictionaryArray.from_arrays(text.indices, text.dictionary.cast(pa.string()))


def _is_text(kind: pa.DataType) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def _numpy(column: pa.Array) -> NDArray[Any]:
    array: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return array
