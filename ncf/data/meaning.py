"""What the columns of a file mean: said in words, and refused where it is probably wrong.

A person who names a column by an option is taken at their word.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ncf.data.columns import Columns, could_be_time, option_for, plain
from ncf.data.interactions import OwnIds
from ncf.data.labels import NO, YES
from ncf.data.sources import Collected, Source
from ncf.data.times import unit_of

_EVENTS = {
    *("event", "eventtype", "eventname", "action", "actiontype", "activity", "activitytype"),
    *("behavior", "behaviour", "behaviortype", "behaviourtype", "interactiontype", "feedbacktype"),
}
_JANUARY_1970 = 31 * 86_400  # seconds
_RATINGS_BELOW = 1e8  # as seconds 1973


def check_meaning(
    path: Path, source: Source, columns: Columns, min_rating: float | None, found: Collected
) -> None:
    """Raises where columns are probably not what their names or positions say.

    Raises:
        ValueError: The times are all in January 1970, the ratings are times, or rows with a 0 would
            count as interactions.
    """
    if "timestamp" in source.places and columns.timestamp is None and found.latest < _JANUARY_1970:
        _refuse_times(path, source, found)
    if "rating" in source.places and columns.rating is None and found.lowest >= _RATINGS_BELOW:
        where = {role: source.places[role] for role in ("user", "item")}
        where["timestamp"] = source.places["rating"]
        raise ValueError(
            f"{path}: the ratings, such as {' and '.join(found.examples['rating'])}, can only be "
            f"times; say so: {option_for(where, source.names)}"
        )
    if min_rating is None:
        _check_noes(path, source, found)


def remarks_on_times(source: Source) -> list[str]:
    """Returns which columns may have the times, of a file where none is taken for them."""
    if "timestamp" in source.places or source.names is None:
        return []
    read = {role: place for role, place in source.places.items() if role != "label"}
    return [
        f"no column of times is read, and {name!r} may be one: give "
        f"{option_for({**read, 'timestamp': place}, source.names)}"
        for place, name in enumerate(source.names)
        if place not in read.values() and could_be_time(name)
    ][:1]


def check_one_header(path: Path, source: Source, user_ids: OwnIds, item_ids: OwnIds) -> None:
    """Raises where files were joined with their headers.

    Raises:
        ValueError: A row has the names of its columns as user and item.
    """
    if source.names is None:
        return
    are_names = []
    for role, ids in (("user", user_ids), ("item", item_ids)):
        name = source.names[source.places[role]]
        if not isinstance(ids, pd.Categorical) or name not in ids.categories:
            return
        are_names.append(ids.codes == ids.categories.get_loc(name))
    n_rows = int((are_names[0] & are_names[1]).sum())
    if n_rows:
        raise ValueError(
            f"{path}: {n_rows} rows repeat the header, as where files are joined; remove them"
        )


def describe(source: Source, found: Collected, min_rating: float | None) -> tuple[str, ...]:
    """Returns a line for each column that is read, with two values, and one for the others."""
    lines = []
    places = {role: place for role, place in source.places.items() if role != "label"}
    for role, place in places.items():
        name = "" if source.names is None else f" {source.names[place]!r}"
        values = found.examples[role]
        note = ""
        if role == "timestamp":
            values = list(map(_with_date, values, found.times))
            unit = unit_of(found.examples[role][0])
            note = "" if unit is None else f", in {unit}"
        if role == "rating" and min_rating is None:
            note = "; not used without --min-rating"
        lines.append(f"{role}: column {place + 1}{name}, such as {' and '.join(values)}{note}")
    if "timestamp" not in source.places:
        lines.append("timestamp: none; the order of the file's rows is taken for the order in time")
    others = [
        repr(name) for place, name in enumerate(source.names or ()) if place not in places.values()
    ]
    if others:
        more = f" and {len(others) - 6} more" if len(others) > 6 else ""
        lines.append(f"not read: {', '.join(others[:6])}{more}{_on_events(source, places)}")
    return tuple(lines)


def _on_events(source: Source, places: Mapping[str, int]) -> str:
    """Returns that kinds of events are not told apart, where a column that is not read has them."""
    for place, name in enumerate(source.names or ()):
        if place not in places.values() and plain(name) in _EVENTS:
            return f"; every row counts alike, whatever its {name!r} says"
    return ""


def _with_date(value: str, time: str) -> str:
    """Returns a time as the file has it, and what that means where it does not say it."""
    return value if time.startswith(value.replace("T", " ")) else f"{value} ({time})"


def _refuse_times(path: Path, source: Source, found: Collected) -> None:
    where = {role: source.places[role] for role in ("user", "item", "timestamp")}
    if source.names is None and len(source.places) == 4:  # user, item, time, rating
        where = {**where, "timestamp": 2, "rating": 3}
        remedy = f"say which column is which, such as {option_for(where, None)}"
    else:
        remedy = (
            f"name the column of times, or this one if it is: {option_for(where, source.names)}"
        )
    raise ValueError(
        f"{path}: the timestamps, such as {' and '.join(found.examples['timestamp'])}, are all in "
        f"January 1970, as if they were ratings or row numbers; {remedy}"
    )


def _check_noes(path: Path, source: Source, found: Collected) -> None:
    """Raises where rows with a no would count as interactions."""
    if "rating" in source.places and found.are_signs and found.lowest < found.highest == 1:
        raise ValueError(
            f"{path}: the ratings are only {found.lowest:g} and 1; keep the rows with 1 by "
            f"--min-rating 1, or count every row as an interaction by --min-rating {found.lowest:g}"
        )
    labels = found.labels
    if labels <= NO | YES and labels & NO and labels & YES:
        place = source.places["label"]
        name = "" if source.names is None else source.names[place]
        option = option_for({"rating": place}, source.names)
        raise ValueError(
            f"{path}: column {name!r} holds only {' and '.join(sorted(labels))}; keep the rows "
            f"with yes by {option} --min-rating 1, or count every row by {option} --min-rating -1"
        )
