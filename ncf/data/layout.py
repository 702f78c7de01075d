"""How a delimited text file is laid out, told from its first rows.

Separators: comma, semicolon, tab, `::`, a vertical bar or a blank; the one that cuts the first rows
into equally many fields. A first row with a known name, or a named column, is a header, and
`user_id:token` counts as `user_id`; without a header see `headerless`. In files separated by tabs,
bars or blanks a quote is a plain character, unless all text of the first row, or of all after it,
is in quotes.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ncf.data.columns import (
    Columns,
    find_columns,
    option_for,
    positions,
    role_of,
)
from ncf.data.headerless import NUMBER, assumed_places, check_no_header, looks_like_names
from ncf.data.labels import without_other_label
from ncf.data.lines import first_lines, split

_DELIMITERS = ("::", "\t", ";", ",", "|", " ")
_OF_CSV = (";", ",", "\t", "::", "|", " ")  # semicolons before commas, which may be decimal ones
_NAMES = {"\t": "a tab", " ": "a blank"}


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out."""

    path: Path
    delimiter: str
    has_quotes: bool
    """Whether a quote at the beginning of a field may hold delimiters and line ends."""
    n_fields: int
    names: tuple[str, ...] | None
    """The header's; None without one."""
    places: Mapping[str, int]
    """Column index by role."""
    lines_before: int
    """Lines up to and with the header; 0 without one."""
    notes: tuple[str, ...] = ()


def find_layout(path: Path, columns: Columns) -> Layout:
    """Returns the layout that the first rows tell.

    Raises:
        ValueError: The file is empty or binary, or its columns cannot be told.
    """
    delimiter, lines = _begin(path, columns)
    number = lines[0][0]
    place = f"{path}, line {number}"
    texts = [text for _, text in lines]
    has_quotes = _has_quotes(texts, delimiter)
    try:
        rows = _rows(texts, delimiter, has_quotes)
    except csv.Error as error:
        raise ValueError(f"{place}: {error}; correct the line") from error
    given = columns.given.values()
    names = tuple(name if name in given else _bare(name) for name in rows[0])
    if not _has_header(names, rows[1:], columns):
        places, notes = _by_position(place, names, rows, columns)
        return Layout(path, delimiter, has_quotes, len(names), None, places, number - 1, notes)
    if len(rows) == 1:
        raise ValueError(f"{path}: no rows after the header; give a file with users and items")
    places, notes = _by_header(place, names, rows, columns)
    return Layout(path, delimiter, has_quotes, len(names), names, places, number, notes)


def _begin(path: Path, columns: Columns) -> tuple[str, list[tuple[int, str]]]:
    """Returns the delimiter, and the numbers and texts of the first lines less what is no row."""
    lines = first_lines(path)
    wanted = None
    while lines and (found := re.match(r"(?:[%#]\s|sep=(.)$)", lines[0][1])):
        wanted = found[1] or wanted  # Excel's own line, or a comment
        lines = lines[1:]
    if not lines:
        raise ValueError(f"{path}: the file is empty; give one with users and items")
    number, first = lines[0]
    if re.fullmatch(r"\d+:", first):
        raise ValueError(
            f"{path}, line {number}: a line with one item, and then its users; write the item on "
            "each row: awk -F: 'NF>1 {item=$1; next} {print item\",\"$0}'"
        )
    delimiter = wanted or _find_delimiter(path, [text for _, text in lines], columns)
    if delimiter is None:
        if mixed := [at for at, text in lines if "\r" in text.rstrip("\r")]:
            raise ValueError(
                f"{path}, line {mixed[0]}: a carriage return is within the line; save the file "
                "with one kind of line end"
            )
        raise ValueError(
            f"{path}, line {number}: one column only; separate users and items by a comma, tab, "
            "semicolon or '::'"
        )
    return delimiter, lines


def _by_header(
    place: str, names: tuple[str, ...], rows: Sequence[Sequence[str]], columns: Columns
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Returns the columns of a file with a header, and what a person should know of it."""
    by_position = positions(columns, len(names))
    is_counted = names == _counted(len(names))
    notes: tuple[str, ...] = ()
    if is_counted or not any(map(role_of, names)):
        number = place.rpartition(" ")[2]
        notes = (f"line {number} is taken for a header: {', '.join(map(repr, names))}",)
    if is_counted and by_position is None and not columns.given:
        check_no_header(place, names, rows, columns)
    if is_counted and (by_position is not None or not columns.given):
        return assumed_places(place, len(names), rows[1:], by_position or {}), notes
    places = find_columns(names, columns, place)
    label = places.get("label", len(names))
    labels = (row[label] for row in rows[1:] if label < len(row))
    return without_other_label(places, labels), notes


def _by_position(
    place: str, names: tuple[str, ...], rows: Sequence[Sequence[str]], columns: Columns
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Returns the columns of a file without a header, and what a person should know of it."""
    given = positions(columns, len(names))
    if given is None:
        check_no_header(place, names, rows, columns)
    places = assumed_places(place, len(names), rows, given or {})
    note = "the file has no header: columns are taken by position"
    if given is None:
        note += f"; where that is wrong, give the right ones: {option_for(places, None)}"
    return places, (note,)


def _counted(n: int) -> tuple[str, ...]:
    """Returns the header that pandas writes over columns without names."""
    return tuple(f"{index}" for index in range(n))


def _find_delimiter(path: Path, lines: Sequence[str], columns: Columns) -> str | None:
    """Returns the delimiter that cuts most lines as the first one; of equals the finest."""
    best: tuple[bool, float, int] | None = None
    chosen = None
    for delimiter in _OF_CSV if ".csv" in path.name.lower() else _DELIMITERS:
        if delimiter not in lines[0] or (delimiter == " " and best is not None):
            continue
        try:
            rows = _rows(lines, delimiter, _has_quotes(lines, delimiter))
        except csv.Error:
            continue
        n_fields = len(rows[0])
        has_names = any(name in columns.given.values() or role_of(_bare(name)) for name in rows[0])
        share = Counter(map(len, rows))[n_fields] / len(rows)
        if n_fields < 2 or (delimiter == " " and not (has_names or _all_numbers(rows))):
            continue
        score = (has_names, share, n_fields)
        if best is None or score > best:
            best = score
            chosen = delimiter
    return chosen


def _rows(lines: Sequence[str], delimiter: str, has_quotes: bool) -> list[list[str]]:
    rows = [row for _, row in split(lines, delimiter, has_quotes)]
    return rows[:-1] if len(rows) > 2 else rows  # as the last may go on


def _bare(name: str) -> str:
    """Returns a name without the type that RecBole writes after it."""
    return re.sub(r":(token|float)(_seq)?$", "", name).strip()


def _has_quotes(lines: Sequence[str], delimiter: str) -> bool:
    """Returns whether quotes are signs, and not plain characters of the values."""
    if delimiter in ",;":
        return True
    if delimiter == "::":
        return False
    others = lines[1:]
    return _is_quoted(lines[0], delimiter) or (
        len(others) > 0 and all(_is_quoted(line, delimiter) for line in others)
    )


def _is_quoted(line: str, delimiter: str) -> bool:
    """Returns whether all text of a row is within quotes, as R writes it."""
    fields = [field for field in line.split(delimiter) if not re.fullmatch(NUMBER, field)]
    return bool(fields) and all(re.fullmatch('".+"', field) for field in fields)


def _all_numbers(rows: Sequence[Sequence[str]]) -> bool:
    return all(re.fullmatch(NUMBER, field) for row in rows for field in row)


def _has_header(names: Sequence[str], rows: Sequence[Sequence[str]], columns: Columns) -> bool:
    """Returns whether the first row is a header that says what is needed."""
    if any(name in names and not name.isdecimal() for name in columns.given.values()):
        return True
    if any(role_of(name) in ("user", "item") for name in names):
        return True
    has_number = any(re.fullmatch(NUMBER, name) for name in names)
    if not has_number and any(map(role_of, names)):
        return True
    if positions(columns, len(names)) is not None and looks_like_names(names, rows):
        return True
    return tuple(names) == _counted(len(names)) and _differs_from_counting(names, rows)


def _differs_from_counting(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Returns whether 0,1,2,... is what pandas writes over columns without names.

    Two columns of small numbers could be a list of pairs that begins with 0,1.
    """
    if len(names) > 2:
        return True
    return any(not re.fullmatch(r"\d{1,9}", field) for row in rows for field in row)
