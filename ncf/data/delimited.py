"""The rows of delimited text, block by block: by pyarrow, and by Python where quotes need care.

A block without quotes, or whose rows are as many as its lines, is read by pyarrow. Where a quote
opens a value that goes over several lines, `quotes` tells whether that value swallows rows.
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
from ncf.data.quotes import REMEDY, KnownIds, is_whole
from ncf.data.sources import Batch
from ncf.data.streams import in_native_memory, read_blocks

_TEXT = pa.string()
_MANY_TIMES = pa.dictionary(pa.int32(), pa.string())  # the type of ids, which are repeated
_LONGEST_ROW = 2**26  # bytes


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
            raise ValueError(f"{layout.path}, line {line}: a row of over 64 MiB; {REMEDY}")
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
            batch = Batch(block.layout.path, columns, lambda row: f"line {_line_of(block, row)}")
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
    cuts = _cut(block, ended, has_quotes)
    if has_quotes:
        known = KnownIds(layout, cuts)
        for start, stop, row in cuts:
            if row and (stop - start > 1 or stop == len(ended)):
                where = f"{layout.path}, line {block.first_line + start}"
                is_end = is_last and stop == len(ended)
                if not is_whole(where, ended[start:stop], is_end, known):
                    ended = ended[:start]
                    cuts = cuts[:-1]
    rows = []
    starts = []
    for start, _, row in cuts:
        if row:
            _check_row(block, row, start)
            rows.append(row)
            starts.append(block.first_line + start)
    n_bytes = len("".join(ended).encode("utf-8", "surrogateescape"))
    if not rows:
        return [], n_bytes
    columns = {}
    for role, place in layout.places.items():
        values = pa.array([row[place] for row in rows], _TEXT)
        columns[role] = values.dictionary_encode() if role in ("user", "item", "label") else values
    return [Batch(block.layout.path, columns, lambda row: f"line {starts[row]}")], n_bytes


def _cut(block: _Block, lines: Sequence[str], has_quotes: bool) -> list[tuple[int, int, list[str]]]:
    """Returns the first line, the line after the last, and the fields of each row of a block."""
    cuts = []
    start = 0
    try:
        for stop, row in split(lines, block.layout.delimiter, has_quotes):
            cuts.append((start, stop, row))
            start = stop
    except csv.Error as error:
        raise ValueError(
            f"{block.layout.path}, line {block.first_line + start}: {error}; correct or remove the "
            "line"
        ) from error
    return cuts


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
