"""The titles of items: from the file that public sets have beside their ratings, or a person's own.

A person's own file, delimited text or parquet, has a column for the item and one for the title, and
may have others; it may be the file of ratings itself.
"""

import csv
import gzip
import logging
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncf.data.columns import plain, role_of
from ncf.data.interactions import Interactions

_log = logging.getLogger(__name__)

_FILE_BESIDE = {"u.data": "u.item", "ratings.dat": "movies.dat", "ratings.csv": "movies.csv"}
# what reading a file of titles raises that is cut off, or no text, table or archive at all
_DAMAGED = (UnicodeDecodeError, csv.Error, OSError, EOFError, zlib.error, pa.ArrowException)


def titles_file(ratings: Path) -> Path | None:
    """Returns the file of titles beside a file of ratings; None where there is none."""
    if ratings.suffix == ".inter":
        titles = ratings.with_suffix(".item")
    elif ratings.name in _FILE_BESIDE:
        titles = ratings.with_name(_FILE_BESIDE[ratings.name])
    else:
        return None
    return titles if titles.is_file() else None


def read_titles(path: Path) -> dict[int | str, str] | None:
    """Returns titles by item id, which is there as text and as a number, as ratings have either."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # the older sets
        text = content.decode("latin-1")
    lines = text.replace("\r\n", "\n").split("\n")
    if path.suffix == ".csv":
        rows = list(csv.reader(lines))
        if rows[0][:2] != ["movieId", "title"]:
            _log.warning("%s: no titles read, as its columns are not movieId,title", path)
            return None
    elif path.name == "u.item":
        rows = [line.split("|") for line in lines]
    elif path.suffix == ".dat":
        rows = [line.split("::") for line in lines]
    else:
        rows = [line.split("\t") for line in lines]
        # RecBole has the year of "Toy Story (1995)" in a column of its own.
        if rows[0][2:3] == ["release_year:token"]:
            rows = [
                [row[0], f"{row[1]} ({row[2]})"] if row[2:] and row[2].isdecimal() else row
                for row in rows
            ]
    titles: dict[int | str, str] = {row[0]: row[1].strip() for row in rows if len(row) > 1}
    return titles | {int(item): titles[item] for item in titles if str(item).isdecimal()}


_TITLES = ("title", "itemtitle", "movietitle", "booktitle", "tracktitle", "productname", "name",
           "itemname", "trackname", "artistname", "songname")  # fmt: skip
_SEPARATORS = ("\t", ";", "|", ",")
_LONGEST = 300  # signs of a title: in memory, each takes as much as the longest


def title_column(names: Sequence[str]) -> str | None:
    """Returns the first of the names that is usual for titles; None for none."""
    found = {plain(name): name for name in reversed(names)}
    return next((found[name] for name in _TITLES if name in found), None)


def with_titles(interactions: Interactions, path: Path, item_column: str | None) -> Interactions:
    """Returns the interactions with the titles that a file has of their items.

    Args:
        interactions: The interactions, whose own titles are replaced.
        path: The file.
        item_column: The name that its column of items may have, beside the usual ones.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It has no such columns, or none of the items.
    """
    try:
        read = _parquet if path.suffix in (".parquet", ".pq") else _delimited
        (item_name, title_name), titles = read(path, item_column)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--titles {path}: no such file; check the path") from error
    except _DAMAGED as error:
        raise ValueError(
            f"--titles {path}: must be delimited text in UTF-8, or parquet ({error})"
        ) from error
    found = [titles.get(str(item_id), "") for item_id in interactions.item_ids.tolist()]
    n_found = sum(map(bool, found))
    if not n_found:
        examples = [*titles][:2], interactions.item_ids[:2].tolist()
        there, here = (" and ".join(map(str, ids)) for ids in examples)
        raise ValueError(
            f"--titles {path}: has no title of any item; its ids are such as {there or 'none'}, "
            f"those of the data such as {here}"
        )
    line = (
        f"titles: column {title_name!r} of {path.name}, by {item_name!r}, for {n_found:,} of "
        f"{len(found):,} items"
    )
    titled = replace(
        interactions,
        titles=np.array(found, np.str_),
        columns_read=(*interactions.columns_read, line),
    )
    titled.__dict__["fingerprint"] = interactions.fingerprint  # which is not of the titles
    return titled


def _columns(path: Path, names: Sequence[str], item_column: str | None) -> tuple[str, str]:
    """Returns the names of the columns of items and of titles."""
    title = title_column(names)
    usual = [name for name in names if role_of(name) == "item" or plain(name) == "id"]
    items = [name for name in names if name == item_column] + sorted(usual, key=_is_plain_id)
    if title is None or not items or items[0] == title:
        raise ValueError(
            f"--titles {path}: needs a column for the item and one for its title, and has "
            f"{', '.join(map(repr, names)) or 'none'}; name them item_id and title"
        )
    return items[0], title


def _is_plain_id(name: str) -> bool:
    return plain(name) == "id"


def _parquet(path: Path, item_column: str | None) -> tuple[tuple[str, str], dict[str, str]]:
    columns = _columns(path, pq.read_schema(path).names, item_column)
    table = pq.read_table(path, columns=[*columns])
    items, titles = (
        ["" if value is None else str(value) for value in table.column(name).to_pylist()]
        for name in columns
    )
    return columns, _first_of_each(zip(items, titles, strict=True))


def _delimited(path: Path, item_column: str | None) -> tuple[tuple[str, str], dict[str, str]]:
    """Reads a delimited text, of which the header tells the separator."""
    with _opened(path) as text:
        header = text.readline()
        separator = max(_SEPARATORS, key=header.count)
        names = next(csv.reader([header], delimiter=separator), [])
        columns = _columns(path, names, item_column)
        item, title = map(names.index, columns)
        rows = csv.reader(text, delimiter=separator)
        pairs = ((row[item], row[title]) for row in rows if len(row) > max(item, title))
        return columns, _first_of_each(pairs)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _first_of_each(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Returns the first title of each item, in one line and of a length that answers can show."""
    titles: dict[str, str] = {}
    for item, title in pairs:
        if words := title.split():
            titles.setdefault(item.strip(), " ".join(words)[:_LONGEST])
    return titles
