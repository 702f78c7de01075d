"""The rows of delimited text, block by block: by pyarrow, and by Python where quotes need care.

A quote that is never closed, or closed many rows later, would swallow rows. So where a row goes
over several lines, each of these lines is looked at: if all of them are whole rows of the file, the
file is refused with the line of the quote.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ncf.data.layout import Layout
from ncf.data.lines import split
from ncf.data.sources import Batch
from ncf.data.streams import in_native_memory, read_blocks

_TEXT = pa.string()
_MANY_TIMES = pa.dictionary(pa.int32(), pa.string())  # the type of ids, which are repeated
_LONGEST_ROW = 2**26  # bytes
_QUOTE_REMEDY = "double a quote that is part of a value and put the value in quotes, or remove it"


@dataclass(frozen=True)
class _Block:
    """Whole rows of a file."""

    layout: Layout
    content: bytes
    first_line: int
    """Number of its first line in the file, from 1."""

    @property
    def lines(self) -> list[str]:
        """The lines with their ends; what is not UTF-8 as lone surrogates."""
        return self.content.decode("utf-8", "surrogateescape").split("\n")


def read_batches(layout: Layout) -> Iterator[Batch]:
    """Yields the columns of the layout's roles as text, some megabytes at a time.

    Raises:
        ValueError: A line has another number of fields, is not UTF-8, or a quote swallows rows.
    """
    rest = b""
    line = 1
    n_skipped = 0
    for content in read_blocks(layout.path):
        rest += content
        while n_skipped < layout.lines_before and b"\n" in rest:
            rest = rest.partition(b"\n")[2]
            n_skipped += 1
            line += 1
        if n_skipped < layout.lines_before or b"\n" not in rest:
            continue
        end = rest.rindex(b"\n") + 1
        batch, n_bytes = _read(_Block(layout, rest[:end], line), is_last=False)
        line += rest[:n_bytes].count(b"\n")
        rest = rest[n_bytes:]
        if len(rest) > _LONGEST_ROW + len(content):
            raise ValueError(f"{layout.path}, line {line}: a row of over 64 MiB; {_QUOTE_REMEDY}")
        yield from batch
    if rest and n_skipped == layout.lines_before:
        yield from _read(_Block(layout, rest, line), is_last=True)[0]


def _read(block: _Block, is_last: bool) -> tuple[list[Batch], int]:
    """Returns the rows of a block, which may be none, and how many of its bytes they are."""
    has_quotes = block.layout.has_quotes and b'"' in block.content
    columns = _by_pyarrow(block, has_quotes)
    if columns is not None:
        n_rows = len(columns["user"])
        if not has_quotes or (n_rows == _n_rows(block.content) and _ends_whole(block)):
            batch = Batch(columns, lambda row: f"line {_line_of(block, row)}")
            return [batch], len(block.content)
    return _by_python(block, has_quotes, is_last)


def _by_pyarrow(block: _Block, has_quotes: bool) -> Mapping[str, pa.Array] | None:
    """Returns the columns of a block, (rows,) each; None where a row is not as it should be."""
    layout = block.layout
    # pyarrow separates by one character: with `::` every second column is an empty one.
    step = len(layout.delimiter)
    names = [f"{index}" for index in range(step * (layout.n_fields - 1) + 1)]
    wanted = {
        f"{step * place}": _MANY_TIMES if role in ("user", "item", "label") else _TEXT
        for role, place in layout.places.items()
    }
    empty = {name: pa.null() for index, name in enumerate(names) if index % step}
    try:
        table = pa.csv.read_csv(
            in_native_memory(block.content),
            pa.csv.ReadOptions(block_size=len(block.content) + 1, column_names=names),
            pa.csv.ParseOptions(
                delimiter=layout.delimiter[0],
                quote_char='"' if has_quotes else False,
                newlines_in_values=has_quotes,
            ),
            pa.csv.ConvertOptions(
                include_columns=[*wanted, *empty], column_types=wanted | empty, null_values=[""]
            ),
        )
    except pa.ArrowInvalid:
        return None
    columns = table.columns[: len(wanted)]
    if columns[0].num_chunks != 1:
        return None
    return {role: column.chunk(0) for role, column in zip(layout.places, columns, strict=True)}


def _by_python(block: _Block, has_quotes: bool, is_last: bool) -> tuple[list[Batch], int]:
    """Does as `_read`, slowly, and names the first line that breaks a rule."""
    layout = block.layout
    lines = block.lines
    ended = [line + "\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]
    rows: list[list[str]] = []
    starts: list[int] = []
    start = 0
    try:
        for stop, row in split(ended, layout.delimiter, has_quotes):
            is_plain = not has_quotes or (stop - start == 1 and stop < len(ended))
            is_end = is_last and stop == len(ended)
            if row and not is_plain and not _is_whole(block, ended[start:stop], start, is_end):
                ended = ended[:start]
                break
            if row:
                _check_row(block, row, start)
                rows.append(row)
                starts.append(block.first_line + start)
            start = stop
    except csv.Error as error:
        number = block.first_line + start
        raise ValueError(
            f"{layout.path}, line {number}: {error}; correct or remove the line"
        ) from error
    n_bytes = len("".join(ended).encode("utf-8", "surrogateescape"))
    if not rows:
        return [], n_bytes
    columns = {}
    for role, place in layout.places.items():
        values = pa.array([row[place] for row in rows], _TEXT)
        columns[role] = values.dictionary_encode() if role in ("user", "item", "label") else values
    return [Batch(columns, lambda row: f"line {starts[row]}")], n_bytes


def _check_row(block: _Block, row: Sequence[str], start: int) -> None:
    layout = block.layout
    place = f"{layout.path}, line {block.first_line + start}"
    if len(row) != layout.n_fields:
        raise ValueError(
            f"{place}: expected {layout.n_fields} fields, got {len(row)}; correct or remove the "
            "line"
        )
    for role in sorted(layout.places, key=lambda role: layout.places[role]):
        value = row[layout.places[role]]
        if not value.isascii() and re.search("[\udc80-\udcff]", value):
            raise ValueError(
                f"{place}: {role} {value!r} is not UTF-8; save the file as UTF-8, for example by "
                "iconv -f WINDOWS-1252 -t UTF-8"
            )
    if layout.delimiter == "::" and any(":" in value for value in row):
        raise ValueError(
            f"{place}: a value has a ':' in it, which '::' files cannot hold; separate the columns "
            "by tabs"
        )


def _is_whole(block: _Block, lines: Sequence[str], start: int, is_end: bool) -> bool:
    """Returns whether the lines of a row are all of it, and not rows that a quote has swallowed.

    Raises:
        ValueError: They are rows that a quote has swallowed.
    """
    layout = block.layout
    place = f"{layout.path}, line {block.first_line + start}"
    reader = csv.reader(lines, delimiter=layout.delimiter, strict=True)
    malformed = None
    try:
        list(reader)
    except csv.Error as error:
        malformed = error
    if len(lines) == 1 and (malformed is None or "unexpected end" not in str(malformed)):
        return True  # `"Weird Al" X` is read as `Weird Al X`
    is_open = malformed is not None and "unexpected end" in str(malformed)
    n_whole = sum(_is_row(layout, line) for line in lines[:50])
    if len(lines) > 1 and (n_whole == min(len(lines), 50) or (malformed and not is_open)):
        raise ValueError(
            f"{place}: a quote begins a value that goes over {len(lines)} lines, which are rows of "
            f"the file; {_QUOTE_REMEDY}"
        )
    if is_open and is_end:
        raise ValueError(f"{place}: a quote is not closed; {_QUOTE_REMEDY}")
    return not is_open


def _is_row(layout: Layout, line: str) -> bool:
    """Returns whether a line would be a row if its quotes were plain characters."""
    fields = [field.strip(' "') for field in line.rstrip("\r\n").split(layout.delimiter)]
    if len(fields) != layout.n_fields:
        return False
    numbers = [layout.places[role] for role in ("rating", "timestamp") if role in layout.places]
    return all(re.match(r"[-+.]?\d", fields[place]) for place in numbers)


def _n_rows(content: bytes) -> int:
    """Returns the number of lines that are not empty."""
    ends = np.flatnonzero(np.frombuffer(content + b"\n" * (content[-1:] != b"\n"), np.uint8) == 10)
    lengths = np.diff(ends, prepend=-1) - 1
    codes = np.frombuffer(content, np.uint8)
    is_empty = (lengths == 0) | ((lengths == 1) & (codes[np.maximum(ends - 1, 0)] == 13))
    return len(ends) - int(np.count_nonzero(is_empty))


def _ends_whole(block: _Block) -> bool:
    """Returns whether no quote is open at the end of a block whose other rows are lines."""
    last = block.content.rstrip(b"\r\n").rpartition(b"\n")[2].decode("utf-8", "surrogateescape")
    try:
        list(csv.reader([last], delimiter=block.layout.delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end" not in str(error)
    return True


def _line_of(block: _Block, row: int) -> int:
    """Returns the number of the line of a row, in a block where no row has several lines."""
    for number, line in enumerate(block.lines, start=block.first_line):
        if line.rstrip("\r"):
            if row == 0:
                return number
            row -= 1
    raise AssertionError("a row that is not in the block")
