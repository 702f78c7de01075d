"""How a delimited text file is laid out, told from its first rows.

Separators: comma, semicolon, tab, `::`, a vertical bar or a blank; the one that cuts the first rows
into equally many fields. A first row with a known name, or a named column, is a header, and
`user_id:token` counts as `user_id`. Without a header the columns are user, item, then rating or
timestamp (whichever the values can be), or rating and timestamp; what could be otherwise is refused
with the option that says it. In files separated by tabs, bars or blanks a quote is a plain
character, unless all text of the first row, or of all after it, is in quotes.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ncf.data.columns import (
    ROLES,
    Columns,
    find_columns,
    option_for,
    positions,
    role_of,
)
from ncf.data.lines import first_lines, split

_DELIMITERS = ("::", "\t", ";", ",", "|", " ")
_OF_CSV = (";", ",", "\t", "::", "|", " ")  # semicolons before commas, which may be decimal ones
_NAMES = {"\t": "a tab", " ": "a blank"}
_NUMBER = r"\s*[-+]?\d+(\.\d+)?\s*"
_DATE = r"\s*\d{4}[-/]\d\d[-/]\d\d.*"
_COLUMN_WORD = (
    r"(?:.*[_\s.-])?(?i:id|uid|iid|user|item|customer|client|member|visitor|listener|viewer|reader"
    r"|player|buyer|account|session|sku|product|track|song|artist|game|movie|film|book|shop|store"
    r"|name|title|date|time)s?|\w+I[dD]"
)
_RATINGS_BELOW = 10**8  # as seconds 1973
_IDS_AS_TIMES = (946_684_800, 2_100_000_000)  # as seconds 2000 to 2036: integers that are times


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
    texts = [text for _, text in lines]
    delimiter = wanted or _find_delimiter(path, texts, columns)
    if delimiter is None:
        raise ValueError(
            f"{path}, line {number}: one column only; separate users and items by a comma, tab, "
            "semicolon or '::'"
        )
    has_quotes = _has_quotes(texts, delimiter)
    try:
        rows = _rows(texts, delimiter, has_quotes)
    except csv.Error as error:
        raise ValueError(f"{path}, line {number}: {error}; correct the line") from error
    place = f"{path}, line {number}"
    given = columns.given.values()
    names = [name if name in given else name.split(":")[0].strip() for name in rows[0]]
    by_position = positions(columns, len(names))
    is_counted = names == [f"{index}" for index in range(len(names))]
    if _has_header(names, rows[1:], columns):
        if len(rows) == 1:
            raise ValueError(f"{path}: no rows after the header; give a file with users and items")
        if is_counted and (by_position is not None or not given):
            _check_no_header(place, names, rows, columns)
            places = _assumed(place, len(names), rows[1:], by_position or {})
        else:
            places = find_columns(names, columns, place)
        notes: tuple[str, ...] = ()
        if is_counted or not any(map(role_of, names)):
            notes = (f"line {number} is taken for a header: {', '.join(map(repr, names))}",)
        called = tuple(names)
        return Layout(path, delimiter, has_quotes, len(names), called, places, number, notes)
    if by_position is None:
        _check_no_header(place, names, rows, columns)
    places = _assumed(place, len(names), rows, by_position or {})
    remark = "the file has no header: columns are taken by position"
    if by_position is None:
        remark += f"; where that is wrong, give the right ones: {option_for(places, None)}"
    return Layout(path, delimiter, has_quotes, len(names), None, places, number - 1, (remark,))


def _find_delimiter(path: Path, lines: Sequence[str], columns: Columns) -> str | None:
    """Returns the delimiter that cuts most lines as the first one; of equals the finest."""
    best: tuple[bool, float, int] | None = None
    chosen = None
    for delimiter in _OF_CSV if ".csv" in path.suffixes else _DELIMITERS:
        if delimiter not in lines[0] or (delimiter == " " and best is not None):
            continue
        try:
            rows = _rows(lines, delimiter, _has_quotes(lines, delimiter))
        except csv.Error:
            continue
        n_fields = len(rows[0])
        has_names = any(
            name in columns.given.values() or role_of(name.split(":")[0]) for name in rows[0]
        )
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
    fields = [field for field in line.split(delimiter) if not re.fullmatch(_NUMBER, field)]
    return bool(fields) and all(re.fullmatch('".+"', field) for field in fields)


def _all_numbers(rows: Sequence[Sequence[str]]) -> bool:
    return all(re.fullmatch(_NUMBER, field) for row in rows for field in row)


def _has_header(names: Sequence[str], rows: Sequence[Sequence[str]], columns: Columns) -> bool:
    """Returns whether the first row is a header that says what is needed."""
    if any(name in names and not name.isdecimal() for name in columns.given.values()):
        return True
    if any(role_of(name) in ("user", "item") for name in names):
        return True
    has_number = any(re.fullmatch(_NUMBER, name) for name in names)
    if not has_number and any(map(role_of, names)):
        return True
    if positions(columns, len(names)) is not None and _looks_like_names(names, rows):
        return True
    return list(names) == [f"{n}" for n in range(len(names))] and _differs_from_counting(
        names, rows
    )


def _differs_from_counting(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Returns whether 0,1,2,... is what pandas writes over columns without names.

    Two columns of small numbers could be a list of pairs that begins with 0,1.
    """
    if len(names) > 2:
        return True
    return any(not re.fullmatch(r"\d{1,9}", field) for row in rows for field in row)


def _looks_like_names(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Returns whether a row that has no known name is a header all the same."""
    if any(re.fullmatch(_NUMBER, name) or not name.strip() for name in names) or not rows:
        return False
    columns = list(zip(*(row for row in rows if len(row) == len(names)), strict=True))
    for name, values in zip(names, columns, strict=False):
        if all(re.fullmatch(f"{_NUMBER}|{_DATE}", value) for value in values):
            return True
        if not re.search(r"\d", name) and all(re.search(r"\d", value) for value in values):
            return True
    return any(re.fullmatch(_COLUMN_WORD, name) for name in names)


def _check_no_header(
    place: str, names: Sequence[str], rows: Sequence[Sequence[str]], columns: Columns
) -> None:
    """Refuses a first row whose columns have names that nobody knows, or are too many."""
    given = columns.given
    if not given and 2 <= len(names) <= 4 and not _looks_like_names(names, rows[1:]):
        return
    absent = " and no ".join(map(repr, sorted(given.values()))) or "known column"
    raise ValueError(
        f"{place}: no {absent} among {', '.join(map(repr, names))}; name them: "
        "--columns user=...,item=..., or, without a header, give their positions: "
        "--columns user=1,item=2"
    )


def _assumed(
    place: str, n_fields: int, rows: Sequence[Sequence[str]], given: Mapping[str, int]
) -> dict[str, int]:
    """Returns the columns of a file without names, by the positions given and the values.

    Raises:
        ValueError: The values do not fit the usual order.
    """
    places = dict(given)
    if given:
        left = [index for index in range(n_fields) if index not in given.values()]
        for role in ("user", "item"):
            if role not in places and left:
                places[role] = left.pop(0)
        return {role: places[role] for role in ROLES if role in places}
    columns = list(zip(*(row for row in rows if len(row) == n_fields), strict=True))
    if n_fields == 2:
        places = {"user": 0, "item": 1}
    elif n_fields == 3:
        places = {
            "user": 0,
            "item": 1,
            "timestamp" if _can_only_be_times(columns[2]) else "rating": 2,
        }
    else:
        places = {role: index for index, role in enumerate(ROLES)}
    for role, index in places.items():
        if role == "timestamp" or (role == "rating" and not _can_only_be_times(columns[index])):
            continue
        if role == "rating" or _could_be_times(columns[index]):
            _refuse_times(place, index, role, columns[index][0], n_fields)
    return places


def _refuse_times(place: str, index: int, role: str, value: str, n_fields: int) -> None:
    others = [other for other in range(n_fields) if other != index]
    roles = dict(zip(("user", "item", "rating"), others, strict=False))
    way = option_for({**roles, "timestamp": index}, None)
    if n_fields == 2:
        way = f"{option_for({'user': 0, 'item': 1}, None)} where they are ids"
    raise ValueError(
        f"{place}: without a header the columns are user, item, rating, timestamp, and {role} "
        f"would be column {index + 1}, but that holds times ({value}); say which column is which: "
        f"{way}"
    )


def _could_be_times(values: Sequence[str]) -> bool:
    """Returns whether the values of a column of ids are all dates, or seconds of these years."""
    first, last = _IDS_AS_TIMES
    return all(
        re.fullmatch(_DATE, value)
        or (
            value.isdecimal() and (first <= int(value) <= last or first <= int(value) / 1e3 <= last)
        )
        for value in values
    )


def _can_only_be_times(values: Sequence[str]) -> bool:
    """Returns whether no value of a column can be a rating, and all can be times."""
    return all(
        re.fullmatch(_DATE, value)
        or (re.fullmatch(_NUMBER, value) and _RATINGS_BELOW <= float(value) <= 4.2e18)
        for value in values
    )
