"""The column that may say of a row that nothing was consumed, such as `is_read` or `click`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

MISSING_WORDS = (
    *("null", "nan", "none", "na", "n/a", "#n/a", "<na>", "nil", "\\n", "undefined", "-1"),
)
"""What often stands for nothing in a file, in lower case."""

_LABELS = (
    *("label", "target", "click", "clicked", "isclick", "isclicked", "like", "liked", "islike"),
    *("isread", "read", "iswatched", "watched", "purchased", "ispurchased", "bought", "played"),
    *("interaction", "feedback", "isrecommended", "recommended", "votedup", "converted"),
    *(
        "purchase",
        "buy",
        "favorite",
        "favourite",
        "isfavorite",
        "subscribed",
        "installed",
        "viewed",
    ),
)

NO = {"0", "0.0", "-1", "-1.0", "false", "no", "n", "f"}
YES = {"1", "1.0", "true", "yes", "y", "t"}
_NOTHING = {"", *MISSING_WORDS} - NO
"""What a cell of a column of yes and no may hold where it says neither."""


def find_label(names: Sequence[str], taken: Collection[int], has_ratings: bool) -> int | None:
    """Returns the column that may say no: by its name, or as the only one beside the others.

    Names are as `columns.plain` makes them.
    """
    others = [index for index in range(len(names)) if index not in taken]
    for index in others:
        if names[index] in _LABELS:
            return index
    return others[0] if len(others) == 1 and not has_ratings else None


def labels_of(values: Iterable[Any]) -> set[str]:
    """Returns the different values of a column of labels as they are compared, less empty ones.

    >>> sorted(labels_of([None, " Yes", "no", "", float("nan")]))
    ['no', 'yes']
    """
    return {str(value).strip().lower() for value in values} - _NOTHING


def without_other_label(places: dict[str, int], values: Iterable[Any]) -> dict[str, int]:
    """Returns the places without that of the label where its values are no yes and no."""
    if labels_of(values) <= NO | YES:
        return places
    return {role: place for role, place in places.items() if role != "label"}
