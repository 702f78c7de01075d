"""Tables that a study was given from Python, kept as files so that the study finds them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ncf.commands.options import check_name
from ncf.data.files import RESULTS, whole

if TYPE_CHECKING:
    import pandas as pd


_KINDS = ("", "+titles")  # no study has a plus in its name, of which this is a file's end


def files_of(study: str) -> list[Path]:
    """Returns the files of a study's tables, whether they are there or not: data, titles."""
    return [RESULTS / "data" / f"{study}{kind}.parquet" for kind in _KINDS]


def keep(table: pd.DataFrame, study: str | None, are_titles: bool = False) -> Path:
    """Writes a table where the study finds it again; returns the file.

    Args:
        table: The table, of interactions or of titles.
        study: The study's name.
        are_titles: Whether it is of titles.
    """
    import pandas as pd  # here: importing `ncf` stays cheap

    if not isinstance(table, pd.DataFrame):
        what = (
            "titles must be a pandas table" if are_titles else "data must be a pandas table, a name"
        )
        raise ValueError(f"{what} or a path, but got {type(table).__name__}")
    if study is None:
        raise ValueError("a table has no name: give the study's, ncf.search(table, study='shop')")
    path = files_of(check_name("study", study))[are_titles]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft:
        table.to_parquet(draft, index=False)
    return path
