"""Tables that a study was given from Python, kept as files so that the study finds them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ncf.commands.options import check_name
from ncf.data.files import RESULTS, whole

if TYPE_CHECKING:
    import pandas as pd


def keep(table: pd.DataFrame, study: str | None, kind: str = "") -> Path:
    """Writes a table where the study finds it again; returns the file.

    Args:
        table: The table, of interactions or, as `kind` says, of titles.
        study: The study's name.
        kind: The end of the file's name.
    """
    import pandas as pd  # here: importing `ncf` stays cheap

    if not isinstance(table, pd.DataFrame):
        kind = type(table).__name__
        raise ValueError(f"data must be a pandas table, a name or a path, but got {kind}")
    if study is None:
        raise ValueError("a table has no name: give the study's, ncf.search(table, study='shop')")
    check_name("study", study)
    folder = RESULTS / "data"
    folder.mkdir(parents=True, exist_ok=True)
    with whole(path := folder / f"{study}{kind}.parquet") as draft:
        table.to_parquet(draft, index=False)
    return path
