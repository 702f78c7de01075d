"""Titles of a person's own data."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ncf.data.interactions import Interactions, from_columns
from ncf.data.titles import with_titles


@pytest.fixture
def data() -> Interactions:
    return from_columns("toy", np.array([1, 1, 2]), np.array([10, 20, 30]))


def of_texts() -> Interactions:
    return from_columns("toy", np.array([1, 1, 2]), np.array(["a-1", "007", "c"]))


def titles_of(data: Interactions) -> dict[str, str]:
    assert data.titles is not None
    return dict(zip(map(str, data.item_ids.tolist()), data.titles.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("items.csv", 'item_id,title\r\n10,"One, two"\r\n30,Drei\r\n'),
        ("items.csv", '\ufeffyear;Title;Movie ID\n1999;"One, two";10\n2000;Drei ;30'),
        ("items.tsv", "id\tname\tmore\n10\tOne, two\tx\n99\tother\tx\n30\tDrei\tx\n30\tTrois\tx\n"),
        ("items.txt", "track|title\n10|One,  two\n20|\n30|Drei\nbroken\n"),
    ],
)
def test_a_text_with_a_column_for_the_item_and_one_for_the_title(
    data: Interactions, tmp_path: Path, name: str, content: str
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    titled = with_titles(data, path, None)
    assert titles_of(titled) == {"10": "One, two", "20": "", "30": "Drei"}
    assert titled.fingerprint == data.fingerprint
    assert titled.columns_read[-1].endswith("for 2 of 3 items")
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(content.encode()))
    assert titles_of(with_titles(data, packed, None)) == titles_of(titled)


def test_a_table_as_parquet_and_ids_of_text(data: Interactions, tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pd.DataFrame({"item": [30, 10], "title": ["Drei", None]}).to_parquet(path)
    assert titles_of(with_titles(data, path, None)) == {"10": "", "20": "", "30": "Drei"}
    pd.DataFrame({"code": ["007", "c"], "title": ["Bond", "x" * 1000]}).to_parquet(path)
    titled = with_titles(of_texts(), path, "code")  # as `--columns item=code` names it
    assert titles_of(titled) == {"007": "Bond", "a-1": "", "c": "x" * 300}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; check the path"),
        (b"", "and has none; name them item_id and title"),
        (b"item_id\n1\n", "needs a column for the item and one for its title, and has 'item_id'"),
        (b"code,title\n10,One\n", "and has 'code', 'title'; name them item_id and title"),
        (b"item_id,title\n1,One\n", "its ids are such as 1, those of the data such as 10 and 20"),
        (b"item_id,title\n10,\xe9\xff\n", "must be delimited text in UTF-8, or parquet"),
    ],
)
def test_a_file_without_titles_of_the_data_is_told(
    data: Interactions, tmp_path: Path, content: bytes | None, message: str
) -> None:
    for name in ("items.csv", "items.parquet") if content is None else ("items.csv",):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            with_titles(data, path, None)
    if content is not None:
        (tmp_path / "items.parquet").write_bytes(content)
        with pytest.raises(ValueError, match="must be delimited text in UTF-8, or parquet"):
            with_titles(data, tmp_path / "items.parquet", None)
