"""Files without names for their columns: which column is what, told from positions and values.

The order is user, item, then rating or timestamp (whichever the values can be), or rating and
timestamp. What could as well be another order is refused with the option that says it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ncf.data.columns import ROLES, Columns, nearest, option_for

NUMBER = r"\s*[-+]?\d+(\.\d+)?\s*"
_DATE = r"\s*(?:\d{4}[-/]\d\d[-/]\d\d|\d\d?\.\d\d?\.\d{4}).*"
_COLUMN_WORD = (
    r"(?:.*[_\s.-])?(?i:id|uid|iid|user|item|customer|client|member|visitor|listener|viewer|reader"
    r"|player|buyer|account|session|sku|product|track|song|artist|game|movie|film|book|shop|store"
    r"|person|people|video|article|news|place|restaurant|hotel|recipe|brand|category|url"
    r"|name|title|date|time)s?|\w+I[dD]"
)
_ASIN = r"B[0-9A-Z]{9}|[0-9]{9}[0-9X]"
_AMAZON_USER = r"A[0-9A-Z]{6,24}"
_RATINGS_BELOW = 10**8  # as seconds 1973
_IDS_AS_TIMES = (946_684_800, 2_100_000_000)  # as seconds 2000 to 2036: integers that are times


def assumed_places(
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
    columns = columns or [("",)] * n_fields
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
            _refuse_times(place, index, role, columns[index][0], places)
    if all(re.fullmatch(_ASIN, one) for one in columns[0]) and all(
        re.fullmatch(_AMAZON_USER, one) for one in columns[1]
    ):
        swapped = {**places, "user": 1, "item": 0}
        raise ValueError(
            f"{place}: without a header the first column is the user, but it holds Amazon's ids of "
            f"items ({columns[0][0]}); say so: {option_for(swapped, None)}"
        )
    return places


def check_no_header(
    place: str, names: Sequence[str], rows: Sequence[Sequence[str]], columns: Columns
) -> None:
    """Refuses a first row whose columns have names that nobody knows, or are too many."""
    given = columns.given
    if not given and 2 <= len(names) <= 4 and not looks_like_names(names, rows[1:]):
        return
    absent = " and no ".join(map(repr, sorted(given.values()))) or "known column"
    meant = "".join(nearest(name, names) for name in given.values())
    raise ValueError(
        f"{place}: no {absent} among {', '.join(map(repr, names))}; {meant}name them: "
        "--columns user=...,item=..., or, without a header, give their positions: "
        "--columns user=1,item=2"
    )


def looks_like_names(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Returns whether a row that has no known name is a header all the same."""
    if not rows or any(re.fullmatch(rf"{NUMBER}|{_DATE}|\s*", name) for name in names):
        return False
    columns = list(zip(*(row for row in rows if len(row) == len(names)), strict=True))
    for name, values in zip(names, columns, strict=False):
        if all(re.fullmatch(f"{NUMBER}|{_DATE}", value) for value in values):
            return True
        if not re.search(r"\d", name) and all(re.search(r"\d", value) for value in values):
            return True
    return any(re.fullmatch(_COLUMN_WORD, name) for name in names)


def _refuse_times(place: str, index: int, role: str, value: str, places: Mapping[str, int]) -> None:
    others = [other for other in range(len(places)) if other != index]
    roles = dict(zip(("user", "item"), others, strict=False))
    way = f"{option_for({**roles, 'timestamp': index}, None)} or, where they are none, "
    raise ValueError(
        f"{place}: without a header the columns are {', '.join(places)}, but the {role} would be "
        f"column {index + 1}, which seems to hold times ({value}); say which column is which, such "
        f"as {way if len(others) > 1 else ''}{option_for(places, None)}"
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
        or (re.fullmatch(NUMBER, value) and _RATINGS_BELOW <= float(value) <= 4.2e18)
        for value in values
    )
