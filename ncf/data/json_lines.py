"""JSON: one object a line, as public sets of reviews have it, or one list of objects.

Keys are the columns; an object may lack those that are not read.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ncf.data.columns import Columns, find_columns
from ncf.data.labels import without_other_label
from ncf.data.lines import first_lines
from ncf.data.sources import Batch, Source
from ncf.data.streams import read_blocks

_TOO_DEEP = "objects or lists within each other, too many to be read; flatten or remove the row"
_START = r"""\s*\[?\s*\{\s*(u?['"]|$)"""


def is_json(path: Path) -> bool:
    """Returns whether a file begins as a JSON object or a list of them."""
    content = next(read_blocks(path, 2**12), b"")
    return re.match(_START.encode(), content) is not None


def open_json(path: Path, columns: Columns) -> Source:
    """Returns the file with its columns found.

    Raises:
        ValueError: The first lines are not JSON, or the columns cannot be told.
    """
    lines = first_lines(path)
    if _is_list(path):
        rows = next(_read_list(path))[1]
    else:
        rows = [_object(path, number, text) for number, text in lines[: max(1, len(lines) - 1)]]
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    places = find_columns(names, columns, f"{path}, line 1")
    if "label" in places:
        label = names[places["label"]]
        places = without_other_label(places, (row.get(label) for row in rows))
    wanted = {role: names[place] for role, place in places.items()}
    return Source(places, names, True, (), _read(path, wanted))


def _read(path: Path, wanted: Mapping[str, str]) -> Iterator[Batch]:
    is_list = _is_list(path)
    for numbers, rows in _read_list(path) if is_list else _read_lines(path):
        place = partial(_in_words, "row" if is_list else "line", numbers)
        columns = {}
        for role, name in wanted.items():
            values = [_filled(row.get(name)) for row in rows]
            if role == "label":  # which may be a column of anything, and then does not matter
                values = [
                    None if value is None else str(value).encode(errors="replace").decode()
                    for value in values
                ]
            try:
                columns[role] = _array(values, role)
            except ValueError as error:
                row, rule = _first_broken(values, role, name)
                raise ValueError(f"{path}, {place(row)}: {role} {name!r} {rule}") from error
        yield Batch(path, columns, place)


def _is_list(path: Path) -> bool:
    return next(read_blocks(path, 2**12)).lstrip()[:1] == b"["


def _in_words(what: str, numbers: list[int], row: int) -> str:
    return f"{what} {numbers[row]}"


def _filled(value: Any) -> Any:
    """Returns a value, None for not-a-number, which is how Python writes a missing one."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _first_broken(values: list[Any], role: str, name: str) -> tuple[int, str]:
    """Returns the place of the first value that is no text or number, and what to do about it."""
    for place, value in enumerate(values):
        if isinstance(value, dict) and value and all(map(str.isdecimal, value)):
            return place, (
                "holds a whole column; write one object a row, as to_json(orient='records', "
                "lines=True) of pandas does"
            )
        if isinstance(value, dict):
            part = next(iter(value), "...")
            return place, (
                "is nested, an object and not text or a number; flatten the rows, for example by "
                "pandas.json_normalize, and name a part: --columns "
                f"{shlex.quote(f'{role}={name}.{part}')}"
            )
        if isinstance(value, list):
            return place, (
                "is nested, a list and not text or a number; write a row for each of its values, "
                f"for example by DataFrame.explode({name!r}) of pandas"
            )
        if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
            return place, (
                f"holds half a character ({value!r:.80}), as where text was cut; correct the value"
            )
    raise AssertionError("no value breaks a rule")


def _array(values: list[Any], role: str) -> pa.Array:
    """Returns values as integers or floats where all are, else as text.

    Raises:
        ValueError: A value is nested, or has half a character, which is no text.
    """
    kinds = {type(value) for value in values} - {type(None)}
    if kinds & {dict, list}:
        raise ValueError("a value is nested")
    if kinds == {int}:
        try:
            return pa.array(values, pa.int64())
        except OverflowError:
            pass
    elif kinds and kinds <= {int, float}:
        try:
            return pa.array(values, pa.float64())
        except (OverflowError, pa.ArrowInvalid):  # an integer is too large to be exact as a float
            values = [
                int(value) if isinstance(value, float) and value.is_integer() else value
                for value in values
            ]
    written = (
        value if value is None or isinstance(value, str) else json.dumps(value) for value in values
    )
    texts = pa.array(list(written), pa.string())
    return texts.dictionary_encode() if role in ("user", "item", "label") else texts


def _read_lines(path: Path) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    """Yields the line numbers and objects of a file, some megabytes at a time."""
    rest = b""
    start = 1
    for block in read_blocks(path):
        content, _, rest = (rest + block).rpartition(b"\n")
        if content:
            lines = content.decode().split("\n")
            yield _objects(path, start, lines)
            start += len(lines)
    if rest.strip():
        yield _objects(path, start, rest.decode().split("\n"))


def _objects(path: Path, start: int, lines: list[str]) -> tuple[list[int], list[dict[str, Any]]]:
    numbers = [number for number, line in enumerate(lines, start) if line.strip()]
    return numbers, [_object(path, number, lines[number - start]) for number in numbers]


def _object(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{path}, line {number}: {_TOO_DEEP}") from error
    except ValueError as error:
        remedy = "correct or remove the line"
        if text.strip() == "{":
            remedy = "give one object a line, or a list of objects"
        if re.match(r"\s*\{\s*u?'", text):
            remedy = "this is Python and not JSON: write it again with ast.literal_eval, json.dumps"
        raise ValueError(f"{path}, line {number}: not JSON ({error}); {remedy}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}, line {number}: not an object; correct or remove the line")
    return found


def _read_list(path: Path) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    """Yields the objects of a list, which takes the memory of the whole file."""
    try:
        found = json.loads(b"".join(read_blocks(path)))
    except RecursionError as error:
        raise ValueError(f"{path}: {_TOO_DEEP}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); correct the file") from error
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{path}: not a list of objects; give one object per line")
    yield list(range(1, len(found) + 1)), found
