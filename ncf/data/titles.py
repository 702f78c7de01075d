"""The titles of items, from the file that public sets have beside their ratings."""

import csv
import logging
from pathlib import Path

_log = logging.getLogger(__name__)

_FILE_BESIDE = {"u.data": "u.item", "ratings.dat": "movies.dat", "ratings.csv": "movies.csv"}


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
