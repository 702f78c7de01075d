"""The columns of a file of ratings: what they are called, and which of them is taken as what.

Four roles: user and item, which every file has, and rating and timestamp. A fifth, label, is a
column such as `is_read` or `click` that may say of a row that nothing was consumed.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches

from ncf.data.labels import find_label

ROLES = ("user", "item", "rating", "timestamp")
"""In the order of a file without a header."""

_USUAL = {
    "user": ("user", "userid", "uid"),
    "item": (
        *("item", "itemid", "iid", "movie", "movieid", "product", "productid"),
        *("book", "bookid", "track", "trackid", "artist", "artistid"),
    ),
    "rating": ("rating", "score"),
    "timestamp": ("timestamp", "time", "datetime", "date"),
}
"""Names by role, compared as `plain` makes them."""

_LESS_USUAL = {
    "user": ("customer", "customerid", "visitorid", "reviewerid", "memberid", "listenerid"),
    "item": (
        *("asin", "isbn", "sku", "articleid", "businessid", "songid", "gameid", "appid"),
        *("venueid", "recipeid", "animeid", "videoid", "newsid"),
    ),
    "rating": ("overall", "stars", "bookrating"),
    "timestamp": (
        "unixreviewtime",
        "eventtime",
        "createdat",
        "tdat",
        "playedat",
        "dateadded",
        "ts",
    ),
}
"""Names of public files, taken where there is no usual one."""


@dataclass(frozen=True)
class Columns:
    """What a file's columns are called, where that is not usual; or their positions, from 1."""

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    timestamp: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """The names or positions that are given, by role."""
        found = {role: getattr(self, role) for role in ROLES}
        return {role: name for role, name in found.items() if name is not None}


USUAL_NAMES = Columns()


_OF_TIME = {
    *("time", "timestamp", "timestamps", "datetime", "date", "dates", "dt", "ts", "when"),
    *("day", "epoch", "stamp", "created", "updated", "modified"),
    *("zeit", "uhrzeit", "zeitpunkt", "zeitstempel", "datum"),
}
_PAST = r"\w+ed|bought|made|paid|put|read|seen|sent|sold"


def could_be_time(name: str) -> bool:
    """Returns whether the name of a column tells that it probably has times.

    >>> could_be_time("ts_ms"), could_be_time("orderedAt"), could_be_time("add-on")
    (True, True, False)
    """
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    is_moment = len(words) > 1 and words[-1] in ("at", "on") and re.fullmatch(_PAST, words[-2])
    return words == ["times"] or bool(_OF_TIME & {*words}) or bool(is_moment)


def parse_columns(option: str | None) -> Columns:
    """Reads the option `--columns`, ROLE=COLUMN,...

    Raises:
        ValueError: It is written otherwise.
    """
    if option is None:
        return USUAL_NAMES
    parts = option.split(",")
    pairs = dict(part.partition("=")[::2] for part in parts)
    if "title" in pairs:
        raise ValueError(
            f"--columns {option}: titles are not read with the ratings; --titles FILE reads them, "
            "from the file of ratings too, by columns such as item_id and title"
        )
    known = [field.name for field in fields(Columns)]
    called = set(pairs.values()) - {""}
    if not set(pairs) <= set(known) or len(called) < len(parts):
        raise ValueError(
            f"--columns {option}: expected NAME=COLUMN,... with names of {', '.join(known)}, each "
            "name and column once; a column is its name or, as user=1,item=3, its position"
        )
    return Columns(**pairs)


def plain(name: str) -> str:
    """Returns a name as it is compared: `userId`, `user_id` and `User ID` are the same."""
    return re.sub(r"[\s_-]", "", name).lower()


def role_of(name: str) -> str | None:
    """Returns the role that a column of this name has without being named; None for no role."""
    for known in (_USUAL, _LESS_USUAL):
        for role in ROLES:
            if plain(name) in known[role]:
                return role
    return None


def positions(columns: Columns, n_fields: int) -> dict[str, int] | None:
    """Returns the index of each given column where all that is given are positions, else None."""
    given = columns.given
    if not given or not all(re.fullmatch(r"[1-9][0-9]{0,3}", name) for name in given.values()):
        return None
    places = {role: int(name) - 1 for role, name in given.items()}
    return places if max(places.values()) < n_fields else None


def find_columns(names: Sequence[str], columns: Columns, place: str) -> dict[str, int]:
    """Returns each role's column index: user and item always, the others where they are there.

    Raises:
        ValueError: A column is missing, or more than one would do.
    """
    found: dict[str, int] = {}
    for role in ROLES:
        wanted = getattr(columns, role)
        fitting = _fitting(names, role, wanted)
        if len(fitting) > 1:
            called = " and ".join(repr(names[index]) for index in fitting)
            raise ValueError(
                f"{place}: {called} could each be the {role} column; "
                f"name one that is there once: --columns {role}=..."
            )
        if fitting:
            found[role] = fitting[0]
        elif wanted is not None or role in ("user", "item"):
            what = f"{role} column" if wanted is None else f"{role} column {wanted!r}"
            raise ValueError(
                f"{place}: no {what} among {', '.join(map(repr, names))}; "
                f"{nearest(wanted, names)}name it: --columns {role}=..."
            )
    label = find_label([*map(plain, names)], found.values(), "rating" in found)
    if label is not None and columns.rating is None:
        found["label"] = label
    return _taken_once(found, names, place)


def nearest(wanted: str | None, names: Sequence[str]) -> str:
    """Returns a question with the name most like a given one, empty where none is like it.

    >>> nearest("kunde", ["Kunde", "Artikel"]), nearest(None, ["", "Artikel"])
    ("did you mean 'Kunde'? ", '')
    """
    by_plain = {plain(name): name for name in names if plain(name)}
    found = get_close_matches(plain(wanted or ""), by_plain, n=1)
    return f"did you mean {by_plain[found[0]]!r}? " if found else ""


def _fitting(names: Sequence[str], role: str, wanted: str | None) -> list[int]:
    if wanted is not None:
        fitting = [index for index, name in enumerate(names) if name == wanted]
        if not fitting and re.fullmatch(r"[1-9][0-9]{0,3}", wanted) and int(wanted) <= len(names):
            return [int(wanted) - 1]
        return fitting
    for known in (_USUAL, _LESS_USUAL):
        fitting = [index for index, name in enumerate(names) if plain(name) in known[role]]
        if fitting:
            return fitting
    return []


def _taken_once(found: dict[str, int], names: Sequence[str], place: str) -> dict[str, int]:
    taken: dict[int, str] = {}
    for role, index in found.items():
        if index in taken:
            raise ValueError(
                f"{place}: {names[index]!r} would be both {taken[index]} and {role}; name another: "
                f"--columns {role}=..."
            )
        taken[index] = role
    return found


def option_for(places: Mapping[str, int], names: Sequence[str] | None) -> str:
    """Returns the option that names these columns, as a shell takes it.

    >>> option_for({"item": 1, "user": 0}, ["User ID", "track"])
    "--columns 'user=User ID,item=track'"
    """
    parts = []
    for role, index in sorted(places.items(), key=lambda pair: pair[1]):
        is_plain = names is not None and names[index] and not set(names[index]) & set(",=")
        parts.append(f"{role}={names[index] if names and is_plain else index + 1}")
    return f"--columns {shlex.quote(','.join(parts)) if names else ','.join(parts)}"
