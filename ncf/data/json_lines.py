"""JSON: one object a line, as public sets of reviews have it, or one list of objects.

Keys are the columns; an object may lack those that are not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ncf.data.columns import Columns, find_columns, without_other_label
from ncf.data.lines import first_lines
from ncf.data.sources import Batch, Source
from ncf.data.streams import read_blocks

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
        places = without_other_label(
            places, (str(row[label]) for row in rows if row.get(label) is not None)
        )
    wanted = {role: names[place] for role, place in places.items()}
    return Source(places, names, True, (), _read(path, wanted))


def _read(path: Path, wanted: Mapping[str, str]) -> Iterator[Batch]:
    is_list = _is_list(path)
    for numbers, rows in _read_list(path) if is_list else _read_lines(path):
        try:
            columns = {
                role: _array([row.get(name) for row in rows], role) for role, name in wanted.items()
            }
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        yield Batch(path, columns, partial(_in_words, "row" if is_list else "line", numbers))


def _is_list(path: Path) -> bool:
    return next(read_blocks(path, 2**12)).lstrip()[:1] == b"["


def _in_words(what: str, numbers: list[int], row: int) -> str:
    return f"{what} {numbers[row]}"


def _array(values: list[Any], role: str) -> pa.Array:
    """Returns values as integers or floats where all are, else as text."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int}:
        try:
            return pa.array(values, pa.int64())
        except OverflowError:
            pass
    elif kinds and kinds <= {int, float}:
        return pa.array(values, pa.float64())
    texts = pa.array([None if value is None else _text(value) for value in values], pa.string())
    return texts.dictionary_encode() if role in ("user", "item", "label") else texts


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise ValueError(
            f"a value is {type(value).__name__} and not text or a number; write one object a row, "
            "as to_json(orient='records', lines=True) of pandas does"
        )
    return value if isinstance(value, str) else json.dumps(value)


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
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); correct the file") from error
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{path}: not a list of objects; give one object per line")
    yield list(range(1, len(found) + 1)), found
