"""The interactions of a data set, by name or path: read once, and kept prepared where it is large.

A MovieLens set is known by its name (see `movielens`), any other by the path of its file of ratings
(see `ratings`).
"""

from dataclasses import asdict
from pathlib import Path

from ncf.data.cache import prepared
from ncf.data.columns import USUAL_NAMES, Columns
from ncf.data.interactions import Interactions, from_columns
from ncf.data.movielens import NAMES, ratings_file
from ncf.data.ratings import read_ratings
from ncf.data.titles import read_titles, titles_file


def load_interactions(
    data: str, columns: Columns = USUAL_NAMES, min_rating: float | None = None
) -> Interactions:
    """Returns the interactions of a MovieLens set, by name, or of a file of ratings, by path.

    `columns` names a file's columns where they are not the usual ones; rows with a rating below
    `min_rating` are left out, and so are the users and items that have no other. Titles come from
    the file beside the ratings: u.item, movies.dat, movies.csv or, as in RecBole, NAME.item.

    Raises:
        FileNotFoundError: There is neither such a set nor such a file.
        ConnectionError: A set is not in the data home and cannot be downloaded.
        PermissionError: The data home cannot be written.
        ValueError: A file, line or value breaks a rule; see `ratings`.
    """
    name, path = find_file(data)
    titles = titles_file(path)
    how = {
        "name": name,
        "suffixes": path.suffixes,
        "columns": asdict(columns),
        "min_rating": min_rating,
    }
    files = [path] if titles is None else [path, titles]
    return prepared(files, how, lambda: _read(name, path, titles, columns, min_rating))


def find_file(data: str) -> tuple[str, Path]:
    """Returns the name of a data set and its file of ratings, downloaded where it is missing.

    Raises:
        FileNotFoundError: There is neither such a set nor such a file.
        ConnectionError: A set is not in the data home and cannot be downloaded.
        PermissionError: The data home cannot be written.
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


def _read(
    name: str, path: Path, titles: Path | None, columns: Columns, min_rating: float | None
) -> Interactions:
    ratings = read_ratings(path, columns, min_rating)
    return from_columns(name, *ratings, read_titles(titles) if titles else None)
