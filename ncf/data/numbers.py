"""Files of tab-separated numbers without a header, every line with the same fields.

They are strict: a line has as many fields as the first, and each field keeps to the rule of its
column, else the line is named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from ncf.data.streams import in_native_memory


class Field(Enum):
    """What one field of a line holds: a pattern of its text, and the pattern in words."""

    INDEX = (rb"\d{1,9}", "an index from 0 to 999999999")
    NUMBER = (rb"[-+.\deE]+", "a number")
    TIME = (rb"\d+", "seconds since 1970")
    PAIR = (rb"\(\d{1,9},\d{1,9}\)", "(user,item)")


def read_content(path: Path) -> tuple[bytes, int]:
    """Returns a file's content and the number of fields of its first line.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path")
    content = path.read_bytes().rstrip()
    if not content:
        raise ValueError(f"{path}: the file is empty; fetch it again")
    return content, content.partition(b"\n")[0].count(b"\t") + 1


def parse(path: Path, content: bytes, fields: Sequence[Field]) -> list[NDArray[Any]]:
    """Returns the columns of a file's content, each (lines,); a pair is two columns of indices.

    Raises:
        ValueError: A line does not have these fields.
    """
    one_by_one: list[Field] = []
    for field in fields:
        one_by_one += [Field.INDEX] * 2 if field is Field.PAIR else [field]
    kinds = {
        f"{place}": pa.float64() if field is Field.NUMBER else pa.int64()
        for place, field in enumerate(one_by_one)
    }
    plain = content
    if Field.PAIR in fields:
        plain = content.translate(None, b"()").replace(b",", b"\t")
    error: ValueError | None = None
    try:
        table = pa.csv.read_csv(
            in_native_memory(plain),
            pa.csv.ReadOptions(column_names=list(kinds)),
            pa.csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
            pa.csv.ConvertOptions(column_types=kinds, null_values=[]),
        )
        columns = [column.to_numpy() for column in table.columns]
        if all(map(_keeps_to_its_rule, one_by_one, columns)):
            return columns
    except pa.ArrowInvalid as invalid:
        error = invalid
    raise _bad_line(path, content, fields, error) from error


def _keeps_to_its_rule(field: Field, column: NDArray[Any]) -> bool:
    if field is Field.NUMBER:
        return True
    return bool(column.min() >= 0 and (field is Field.TIME or column.max() < 10**9))


def _bad_line(
    path: Path, content: bytes, fields: Sequence[Field], error: ValueError | None
) -> ValueError:
    for number, line in enumerate(content.splitlines(), start=1):
        found = line.split(b"\t")
        if len(found) != len(fields):
            return ValueError(
                f"{path}, line {number}: expected {len(fields)} fields, as in line 1, got "
                f"{len(found)}; correct the line"
            )
        for place, (field, text) in enumerate(zip(fields, found, strict=True), start=1):
            pattern, in_words = field.value
            if re.fullmatch(pattern, text) is None:
                return ValueError(
                    f"{path}, line {number}: field {place} must be {in_words}, got "
                    f"{text.decode(errors='replace')!r}; correct the line"
                )
    return ValueError(f"{path}: {error}; correct the file")
