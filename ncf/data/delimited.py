"""Delimited text files of ratings: how one is laid out, its columns, and its first bad line.

Separators: comma, tab, semicolon or `::`. Compression, by the last suffix: .gz .bz2 .xz .zst, or
.zip with one member. The encoding is UTF-8. A first row with a known name, or a named column, is a
header, and `user_id:token` counts as `user_id`. Without a header the columns are user, item[,
rating[, timestamp]].
"""

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.csv

from ncf.data.columns import KNOWN_NAMES, RULES, Columns, breaks_rule, find_columns, is_known

DAMAGED = (
    *(EOFError, OSError, RuntimeError, UnicodeDecodeError),
    *(lzma.LZMAError, zlib.error, zipfile.BadZipFile),
)
"""What reading a damaged or encrypted file raises; an OSError with a file name is another matter.
"""

_BLOCK_BYTES = 2**22
_LINE_BYTES = 2**20


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out."""

    path: Path
    delimiter: str
    n_fields: int
    places: Mapping[str, int]
    """Column index by role: "user", "item" and, where they are there, "rating" and "timestamp"."""
    header_lines: int
    """Lines up to and with the header; 0 without one."""


def find_layout(path: Path, columns: Columns) -> Layout:
    """Returns the layout that the first two rows tell.

    Raises:
        ValueError: Where the file is empty or binary, or its columns cannot be told.
    """
    rows: list[tuple[int, str]] = []
    with _open(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(_LINE_BYTES), b""), start=1):
            if re.search(rb"[\x00-\x08\x0e-\x1f]", line):
                raise ValueError(
                    f"{path}, line {number}: binary data; give UTF-8 text or parquet, with a "
                    "suffix that fits: .csv .tsv .dat .parquet, and .gz .bz2 .xz .zst .zip after it"
                )
            text = line.decode("utf-8-sig", errors="replace").rstrip("\r\n")
            if text:
                rows.append((number, text))
            if len(rows) == 2:
                break
    if not rows:
        raise ValueError(f"{path}: the file is empty; give one with users and items")
    number, first = rows[0]
    # A .csv file is taken at its word, so that its ids may have a tab or '::' in them. Semicolons
    # go first, as commas may be decimal ones.
    signs = (";", ",", "\t", "::") if ".csv" in path.suffixes else ("::", "\t", ";", ",")
    delimiter = next((sign for sign in signs if sign in first), None)
    if delimiter is None:
        raise ValueError(
            f"{path}, line {number}: one column only; separate users and items by a comma, tab, "
            "semicolon or '::'"
        )
    try:
        table = [fields for _, fields in _split((text for _, text in rows), delimiter)]
    except csv.Error as error:
        raise ValueError(f"{path}, line {number}: {error}; correct the line") from error
    names = [name if name in columns.given else name.split(":")[0] for name in table[0]]
    if any(is_known(name, columns) for name in names):
        places = find_columns(names, columns, f"{path}, line {number}")
        if len(table) == 1:
            raise ValueError(f"{path}: no rows after the header; give a file with users and items")
        return Layout(path, delimiter, len(names), places, number)
    looks_like_names = len(table) == 2 and _n_numbers(table[1]) > _n_numbers(table[0]) == 0
    if looks_like_names or columns.given or not 2 <= len(names) <= 4:
        absent = " and no ".join(map(repr, sorted(columns.given))) or "known column"
        raise ValueError(
            f"{path}, line {number}: no {absent} among {', '.join(map(repr, names))}; "
            "name them: --columns user=...,item=..., or, without a header, give 2 to 4 columns: "
            "user, item, rating, timestamp"
        )
    places = {role: place for place, role in enumerate(KNOWN_NAMES) if place < len(names)}
    return Layout(path, delimiter, len(names), places, 0)


def read_batches(layout: Layout, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Yields the columns of `types`, named by their roles, some megabytes at a time.

    Raises:
        pyarrow.ArrowInvalid: Where a line has another number of fields, or a value another type.
    """
    # pyarrow separates by one character: with `::` every second column is an empty one.
    step = len(layout.delimiter)
    names = [f"{index}" for index in range(step * (layout.n_fields - 1) + 1)]
    wanted = {f"{step * layout.places[role]}": kind for role, kind in types.items()}
    empty = {name: pa.null() for index, name in enumerate(names) if index % step}
    with _open(layout.path) as file:
        batches = pa.csv.open_csv(
            file,
            pa.csv.ReadOptions(
                block_size=_BLOCK_BYTES, column_names=names, skip_rows=layout.header_lines
            ),
            pa.csv.ParseOptions(
                delimiter=layout.delimiter[0],
                quote_char='"' if step == 1 else False,
                newlines_in_values=True,
            ),
            pa.csv.ConvertOptions(
                include_columns=[*wanted, *empty], column_types=wanted | empty, null_values=[""]
            ),
        )
        for batch in batches:
            yield pa.RecordBatch.from_arrays(batch.columns[: len(wanted)], names=list(types))


def role_not_converted(layout: Layout, error: ValueError) -> str | None:
    """Returns the role of the column whose type pyarrow found wrong; None for other errors."""
    # pyarrow adds "Row #2: " where it reads with one thread.
    found = re.search(r"In CSV column #(\d+): (Row #\d+: )?CSV conversion error", str(error))
    if found is None:
        return None
    step = len(layout.delimiter)
    return {step * place: role for role, place in layout.places.items()}.get(int(found[1]))


def first_bad_line(layout: Layout) -> str | None:
    """Returns "place: rule" of the first line that breaks one; None where there is no such line.

    Of a row that goes over several lines, by a quote, it is the first.
    """
    roles = sorted(layout.places, key=lambda role: layout.places[role])
    end = 0
    with (
        _open(layout.path) as file,
        io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text,
    ):
        try:
            for number, row in _split(text, layout.delimiter):
                line, end = end + 1, number
                if line <= layout.header_lines or not row:
                    continue
                if len(row) != layout.n_fields:
                    return (
                        f"{layout.path}, line {line}: expected {layout.n_fields} fields, "
                        f"got {len(row)}; correct or remove the line"
                    )
                for role in roles:
                    value = row[layout.places[role]]
                    if not value.isascii() and re.search("[\udc80-\udcff]", value):
                        return (
                            f"{layout.path}, line {line}: {role} {value!r} is not UTF-8; "
                            "save the file as UTF-8"
                        )
                    if breaks_rule(role, value):
                        return f"{layout.path}, line {line}: {role} {value!r} {RULES[role]}"
                if layout.delimiter == "::" and any(":" in value for value in row):
                    return (
                        f"{layout.path}, line {line}: a value has a ':' in it, which '::' files "
                        "cannot hold; separate the columns by tabs"
                    )
        except csv.Error as error:
            return f"{layout.path}, line {end + 1}: {error}; correct or remove the line"
    return None


def _open(path: Path) -> BinaryIO:
    """Returns the file's content, decompressed as it is read."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if suffix == ".bz2":
        return cast(BinaryIO, bz2.open(path))
    if suffix == ".xz":
        return cast(BinaryIO, lzma.open(path))
    if suffix == ".zst":
        return cast(BinaryIO, io.BufferedReader(pa.input_stream(path, compression="zstd")))
    if suffix == ".zip":
        archive = zipfile.ZipFile(path)
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            raise ValueError(
                f"{path}: must hold one file, holds {len(members)}; unpack it and give the path "
                "of the file with the ratings"
            )
        return cast(BinaryIO, archive.open(members[0]))
    return path.open("rb")


def _split(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each row's last line number and fields."""
    if len(delimiter) == 1:
        reader = csv.reader(lines, delimiter=delimiter)
        for row in reader:
            yield reader.line_num, row
    else:
        for number, line in enumerate(lines, start=1):
            text = line.rstrip("\r\n")
            yield number, text.split(delimiter) if text else []


def _n_numbers(row: Sequence[str]) -> int:
    """Returns how many fields of a row are numbers."""
    return sum(re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", field) is not None for field in row)
