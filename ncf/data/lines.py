"""Lines and rows of delimited text, in plain Python: the first of a file, and how a row is cut."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ncf.data.streams import read_blocks

_N_LINES = 200
_ENOUGH_BYTES = 2**18
_MOST_BYTES = 2**26

# The module's limit of 128 KiB a field is for all readers of the process: reviews are longer.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


def first_lines(path: Path) -> list[tuple[int, str]]:
    """Returns the numbers, from 1, and the texts of a file's first lines that are not empty.

    Raises:
        ValueError: The first two are binary data.
    """
    content = b""
    for block in read_blocks(path, _ENOUGH_BYTES):
        content += block
        n_lines = content.count(b"\n")
        if n_lines > _N_LINES or (n_lines > 2 and len(content) >= _ENOUGH_BYTES):
            content = content[: content.rindex(b"\n")]
            break
        if len(content) > _MOST_BYTES:
            break
    found: list[tuple[int, str]] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if len(found) < 2 and re.search(rb"[\x00-\x08\x0e-\x1f]", line):
            raise ValueError(
                f"{path}, line {number}: binary data; give UTF-8 text or parquet, with a "
                "suffix that fits: .csv .tsv .dat .parquet, and .gz .bz2 .xz .zst .zip after it"
            )
        text = line.decode("utf-8", errors="replace").rstrip("\r")
        if text:
            found.append((number, text))
        if len(found) == _N_LINES:
            break
    return found


def split(
    lines: Iterable[str], delimiter: str, has_quotes: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yields each row's last line number and fields; of an empty line there are no fields."""
    if has_quotes:
        reader = csv.reader(lines, delimiter=delimiter)
        for row in reader:
            yield reader.line_num, row
    else:
        for number, line in enumerate(lines, start=1):
            text = line.rstrip("\r\n")
            yield number, text.split(delimiter) if text else []
