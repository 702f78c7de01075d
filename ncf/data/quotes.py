"""Values in quotes that go over several lines: whether they are values, or have swallowed rows.

A quote that is never closed, or that closes many rows later, makes one value of rows of the file.
Reviews have lines, too. They are told apart by what is written: rows that were swallowed have as
many fields as the others, numbers where ratings and times are, and users or items of other rows.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ncf.data.layout import Layout

REMEDY = "double a quote that is part of a value and put the value in quotes, or remove it"
_ENOUGH_LINES = 50


@dataclass(frozen=True)
class KnownIds:
    """The ids of a block's rows that are one line each, found where they are asked for."""

    layout: Layout
    cuts: Sequence[tuple[int, int, list[str]]]
    """The first line, the line after the last, and the fields of each row."""

    @cached_property
    def users(self) -> set[str]:
        """The users of rows of one line."""
        return self._column("user")

    @cached_property
    def items(self) -> set[str]:
        """The items of rows of one line."""
        return self._column("item")

    def _column(self, role: str) -> set[str]:
        place = self.layout.places[role]
        return {
            row[place]
            for start, stop, row in self.cuts
            if stop - start == 1 and len(row) == self.layout.n_fields
        }


def is_whole(place: str, lines: Sequence[str], is_end: bool, known: KnownIds) -> bool:
    """Returns whether the lines of a row are all of it; they are not where the block ends within.

    Args:
        place: The file and line of the row, for errors.
        lines: The lines from the row's first to its last, as far as they are known.
        is_end: Whether nothing follows in the file.
        known: The ids of other rows.

    Raises:
        ValueError: The lines are rows that a quote has swallowed, or a quote is never closed.
    """
    malformed = ""
    try:
        list(csv.reader(lines, delimiter=known.layout.delimiter, strict=True))
    except csv.Error as error:
        malformed = str(error)
    is_open = "unexpected end" in malformed
    if len(lines) == 1 and not is_open:
        return True  # `"Weird Al" X` is read as `Weird Al X`
    are_rows = all(_is_row(line, known) for line in lines[:_ENOUGH_LINES])
    if len(lines) > 1 and ((malformed and not is_open) or (are_rows and _some_known(lines, known))):
        raise ValueError(
            f"{place}: a quote begins a value that goes over {len(lines)} lines, which are rows of "
            f"the file; {REMEDY}"
        )
    if is_open and is_end:
        raise ValueError(f"{place}: a quote is not closed; {REMEDY}")
    return not is_open


def _fields(line: str, known: KnownIds) -> list[str]:
    """Returns a line's fields as if its quotes were plain characters."""
    return [field.strip(' "') for field in line.rstrip("\r\n").split(known.layout.delimiter)]


def _is_row(line: str, known: KnownIds) -> bool:
    fields = _fields(line, known)
    places = known.layout.places
    numbers = [places[role] for role in ("rating", "timestamp") if role in places]
    return len(fields) == known.layout.n_fields and all(
        re.match(r"[-+.]?\d", fields[place]) for place in numbers
    )


def _some_known(lines: Sequence[str], known: KnownIds) -> bool:
    """Returns whether a line after the first begins with what other rows have."""
    places = known.layout.places
    if {"rating", "timestamp"} & set(places):
        return True  # the numbers have told it
    rows = [_fields(line, known) for line in lines[1:_ENOUGH_LINES]]
    return any(
        row[places["user"]] in known.users or row[places["item"]] in known.items for row in rows
    )
