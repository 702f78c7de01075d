"""Tables that a study is given from Python."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ncf.commands import kept_tables
from ncf.commands.clean import run
from ncf.commands.parts import parts_of
from ncf.study import journal
from ncf.study.storage import open_storage

TABLE = pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"]})
TITLES = pd.DataFrame({"item": ["x", "y"], "title": ["X", "Y"]})


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_studys_tables_are_deleted_with_it_and_no_others() -> None:
    kept = [kept_tables.keep(TABLE, "shop"), kept_tables.keep(TITLES, "shop", are_titles=True)]
    other = kept_tables.keep(TABLE, "shop-titles")
    assert pd.read_parquet(other).equals(TABLE)
    assert pd.read_parquet(kept[1]).equals(TITLES)
    journal.open_study(open_storage("mlruns/optuna.journal"), "shop", {})
    study = journal.load_study("shop", None)
    assert parts_of(None, study).size == sum(file.stat().st_size for file in kept)
    run("shop", None, None, None, with_versions=False, is_sure=True)
    assert [*Path("mlruns/data").iterdir()] == [other]


def test_what_is_no_table_is_named() -> None:
    for are_titles, rule in (
        (False, "data must be .*, a name or a path"),
        (True, "titles must be"),
    ):
        with pytest.raises(ValueError, match=f"{rule}.* but got list"):
            kept_tables.keep([1], "shop", are_titles)  # type: ignore[arg-type]
