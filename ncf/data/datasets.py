"""The interactions of a data set, by name or path: read once, and kept prepared where it is large.

A MovieLens set is known by its name (see `movielens`), any other by the path of its file of ratings
(see `ratings`).
"""

import re
from dataclasses import asdict, replace
from pathlib import Path

from ncf.data.cache import prepared
from ncf.data.columns import USUAL_NAMES, Columns
from ncf.data.files import files_of
from ncf.data.interactions import Interactions, from_columns
from ncf.data.movielens import NAMES, ratings_file
from ncf.data.ratings import read_ratings
from ncf.data.titles import read_titles, titles_file


def load_interactions(
    data: str,
    columns: Columns = USUAL_NAMES,
    min_rating: float | None = None,
    drop_empty: bool = False,
) -> Interactions:
    """Returns the interactions of a MovieLens set, by name, or of a file of ratings, by path.

    `columns` names a file's columns where they are not the usual ones; rows with a rating below
    `min_rating`, and with `drop_empty` those with an empty cell, are left out, and so are the users
    and items that have no other. Titles come from the file beside the ratings: u.item, movies.dat,
    movies.csv or, as in RecBole, NAME.item.

    Raises:
        FileNotFoundError: There is neither such a set nor such a file.
        ConnectionError: A set is not in the data home and cannot be downloaded.
        PermissionError: The data home cannot be written.
        ValueError: A file, line or value breaks a rule; see `ratings`.
    """
    name, path = find_file(data)
    files = files_of(path)
    titles = titles_file(path)
    how = {
        "name": name,
        "suffixes": path.suffixes,
        "parts": [file.relative_to(path).as_posix() for file in files],
        "columns": asdict(columns),
        "min_rating": min_rating,
        "drop_empty": drop_empty,
    }
    return prepared(
        [*files, *([] if titles is None else [titles])],
        how,
        lambda: _read(name, path, titles, columns, min_rating, drop_empty),
    )


def find_file(data: str) -> tuple[str, Path]:
    """Returns the name of a data set and its file of ratings, downloaded where it is missing.

    Raises:
        FileNotFoundError: There is neither such a set nor such a file.
        ConnectionError: A set is not in the data home and cannot be downloaded.
        PermissionError: The data home cannot be written.
        ValueError: The path is a pipe or a device.
    """
    if data in NAMES:
        return data, ratings_file(data)
    path = Path(data).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"{data}: no such file, nor a known data set; check the path, which --data or the "
            f"experiment gives, or give one of {', '.join(NAMES)}"
        )
    if not path.is_file() and not path.is_dir():
        raise ValueError(f"{path}: not a file, and it is read more than once; save it as one")
    return name_of(path), path


def name_of(path: Path) -> str:
    """Returns the name of a data set, which names studies and models: its file's, less the format.

    >>> name_of(Path("data/2024.01.csv.gz")), name_of(Path("100% new?.parquet"))
    ('2024.01', '100_ new_')
    """
    if path.name in ("", ".."):
        path = path.resolve()
    if not path.name:
        return "data"
    if path.suffix.lower() in (".gz", ".bz2", ".xz", ".zst", ".zip"):
        path = path.with_suffix("")
    if path.name.endswith(".train.rating"):  # a ready-made split
        path = path.with_suffix("").with_suffix("")
    elif not path.suffix[1:].isdecimal():
        path = path.with_suffix("")
    return re.sub(r"[^\w. -]", "_", path.name).strip(". ")[:150] or "data"


def _read(
    name: str,
    path: Path,
    titles: Path | None,
    columns: Columns,
    min_rating: float | None,
    drop_empty: bool,
) -> Interactions:
    ratings = read_ratings(path, columns, min_rating, drop_empty)
    known = None if titles is None else read_titles(titles)
    found = from_columns(name, ratings.user_ids, ratings.item_ids, ratings.timestamps, known)
    notes = () if name in NAMES else ratings.notes  # nothing is assumed of a known set
    return replace(found, columns_read=(*ratings.columns_read, *notes), remarks=ratings.remarks)
