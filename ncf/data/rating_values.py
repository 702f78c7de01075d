"""Reads a column of ratings as numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_WORDS = {"true": "1", "yes": "1", "y": "1", "t": "1", "false": "0", "no": "0", "n": "0", "f": "0"}


_DECIMAL_COMMAS = r"-?\d+(,(\d{1,2}|\d{4,}))?"  # with 3 digits it may be that of thousands


def read_rating_values(column: pa.Array, has_decimal_commas: bool = False) -> NDArray[np.float64]:
    """Returns a column of ratings, not-a-number where one is none; yes is 1 and no is 0.

    With `has_decimal_commas`, 7,25 is a number, where no rating is written in another way.

    Raises:
        ValueError: The column's type cannot hold numbers.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_rating_values(column.dictionary_decode(), has_decimal_commas)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            column = column.cast(pa.float64())
        except pa.ArrowInvalid:
            texts = pc.utf8_lower(pc.utf8_trim(column, characters=" \t"))
            words = texts.to_pandas().replace(_WORDS)
            filled = words[words.fillna("") != ""]
            if has_decimal_commas and filled.str.fullmatch(_DECIMAL_COMMAS).all():
                words = words.str.replace(",", ".")
            is_number = words.str.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", flags=256)
            return np.asarray(pd.to_numeric(words.where(is_number.fillna(False))), np.float64)
    elif not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        raise ValueError(f"a rating must be a number, got {kind}; cast the column")
    numbers = pc.fill_null(column.cast(pa.float64(), safe=False), math.nan)
    array: NDArray[np.float64] = numbers.to_numpy(zero_copy_only=False)
    return array
