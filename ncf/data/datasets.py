"""The interactions of a data set, by name or path: read once, and kept prepared.

A MovieLens set is known by its name (see `movielens`), any other by the path of its file of ratings
(see `ratings`). The interactions of files of 16 MB and more are kept in `prepared/KEY` in the cache
folder of `movielens`, where KEY is a SHA-256 over the files' bytes and the way they are read, so a
changed file is read anew. The folder only saves time and can be deleted.
"""

import csv
import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

from ncf.data.columns import USUAL_NAMES, Columns
from ncf.data.interactions import Interactions, from_columns, load, save, sha256_of
from ncf.data.movielens import NAMES, cache_folder, ratings_file
from ncf.data.ratings import read_ratings

_log = logging.getLogger(__name__)

_FORMAT_VERSION = 2  # raised when prepared data of an older version must not be used
_CACHED_FROM_BYTES = 16 * 2**20
_TITLES_FILE = {"u.data": "u.item", "ratings.dat": "movies.dat", "ratings.csv": "movies.csv"}


def load_interactions(
    data: str, columns: Columns = USUAL_NAMES, min_rating: float | None = None
) -> Interactions:
    """Returns the interactions of a MovieLens set, by name, or of a file of ratings, by path.

    `columns` names a file's columns where they are not the usual ones; rows with a rating below
    `min_rating` are left out, and so are the users and items that have no other. Titles come from
    the file beside the ratings: u.item, movies.dat, movies.csv or, as in RecBole, NAME.item.

    Raises:
        FileNotFoundError: Where there is neither such a set nor such a file.
        ConnectionError: Where a set is not in the data home and cannot be downloaded.
        PermissionError: Where the data home cannot be written.
        ValueError: Where a file, line or value breaks a rule; see `ratings`.
    """
    name, path = find_file(data)
    return _prepared(name, path, _titles_file(path), columns, min_rating)


def find_file(data: str) -> tuple[str, Path]:
    """Returns the name of a data set and its file of ratings, downloaded where it is missing.

    Raises:
        FileNotFoundError: Where there is neither such a set nor such a file.
        ConnectionError: Where a set is not in the data home and cannot be downloaded.
        PermissionError: Where the data home cannot be written.
    """
    if data in NAMES:
        return data, ratings_file(data)
    path = Path(data).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"{data}: no such file, nor a known data set; check the path, or give one of "
            f"{', '.join(NAMES)}"
        )
    return _stem(path), path


def _stem(path: Path) -> str:
    """Returns a file's name less the suffixes of its format: `my.plays` of `my.plays.csv.gz`."""
    if path.suffix.lower() in (".gz", ".bz2", ".xz", ".zst", ".zip"):
        path = path.with_suffix("")
    return path.stem


def _titles_file(path: Path) -> Path | None:
    """Returns the file of titles beside a file of ratings."""
    if path.suffix == ".inter":
        titles = path.with_suffix(".item")
    elif path.name in _TITLES_FILE:
        titles = path.with_name(_TITLES_FILE[path.name])
    else:
        return None
    return titles if titles.is_file() else None


def _prepared(
    name: str, path: Path, titles: Path | None, columns: Columns, min_rating: float | None
) -> Interactions:
    """Returns a file's interactions, from the prepared data where it is large and known."""
    if path.stat().st_size < _CACHED_FROM_BYTES:
        return _read(name, path, titles, columns, min_rating)
    options = {
        "version": _FORMAT_VERSION,
        "name": name,
        "suffixes": path.suffixes,
        "columns": asdict(columns),
        "min_rating": min_rating,
        "files": [sha256_of(file) for file in (path, titles) if file is not None],
    }
    key = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / "prepared" / key
    try:
        return load(folder)
    except FileNotFoundError:
        pass
    except ValueError as error:
        _log.warning("%s", error)
    interactions = _read(name, path, titles, columns, min_rating)
    try:
        save(interactions, folder)
    except OSError as error:  # it would only have saved time
        _log.warning("%s: prepared data could not be kept: %s", folder, error)
    return interactions


def _read(
    name: str, path: Path, titles: Path | None, columns: Columns, min_rating: float | None
) -> Interactions:
    ratings = read_ratings(path, columns, min_rating)
    return from_columns(name, *ratings, _read_titles(titles) if titles else None)


def _read_titles(path: Path) -> dict[int | str, str] | None:
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
