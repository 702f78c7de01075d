"""Files with empty cells: told with their number and the first, or left out where that is asked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ncf.data import cache
from ncf.data.datasets import load_interactions
from ncf.data.empty_cells import are_empty
from ncf.data.ratings import read_ratings

TABLE = pd.DataFrame(
    {
        "user": ["a", None, "b", "c", None, "a"],
        "item": ["x", "y", " ", "z", "", "z"],
        "rating": [5.0, 4.0, 3.0, None, 2.0, 1.0],
        "time": [10**9, 10**9 + 1, 10**9 + 2, 10**9 + 3, 10**9 + 4, 10**9 + 5],
    }
)
COMPLETE = [("a", "x", 10**9), ("a", "z", 10**9 + 5)]


def write(folder: Path, kind: str) -> Path:
    path = folder / f"shop.{kind}"
    if kind == "csv":
        TABLE.to_csv(path, index=False)
    elif kind == "jsonl":
        rows = json.loads(TABLE.to_json(orient="records"))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        TABLE.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_empty_cells_are_counted_and_left_out_only_where_that_is_asked(
    tmp_path: Path, kind: str
) -> None:
    path = write(tmp_path, kind)
    place = {"csv": "line 3", "jsonl": "line 2", "parquet": "row 2"}[kind]
    value = "''" if kind == "csv" else "None"
    with pytest.raises(ValueError, match=r".") as error:
        read_ratings(path)
    assert str(error.value) == (
        f"{path}, {place}: user {value} must not be empty; 4 rows have an empty cell (user in 2, "
        "item in 2, rating in 1): correct them, or leave such rows out by --drop-empty"
    )
    found = read_ratings(path, drop_empty=True)
    times = found.timestamps
    assert times is not None
    columns = (np.asarray(found.user_ids), np.asarray(found.item_ids), times)
    assert [*zip(*(column.tolist() for column in columns), strict=True)] == COMPLETE
    assert (found.n_rows, found.n_empty) == (6, 4)
    assert found.columns_read[-1] == (
        "left out by --drop-empty: 4 of 6 rows, with an empty user in 2, item in 2, rating in 1"
    )


@pytest.mark.parametrize("is_list", [False, True])
def test_not_a_number_is_empty_in_json(tmp_path: Path, is_list: bool) -> None:
    path = tmp_path / "shop.json"
    rows = [
        {"user": "a", "item": 7, "rating": 5, "time": "2001-09-09"},
        {"user": math.nan, "item": math.nan, "rating": 4, "time": "2001-09-10"},
        {"user": "b", "item": 8, "rating": math.nan, "time": "2001-09-11"},
        {"user": "c", "item": 9, "rating": 1, "time": math.nan},
        {"user": "nan", "item": 9, "rating": 1, "time": "2001-09-12"},
    ]
    path.write_text(json.dumps(rows) if is_list else "\n".join(map(json.dumps, rows)))
    rule = (
        r" 2: user None must not be empty; 3 rows have an empty cell \(user in 1, item in 1, "
        r"rating in 1, timestamp in 1\)"
    )
    with pytest.raises(ValueError, match=rule):
        read_ratings(path)
    found = read_ratings(path, drop_empty=True)
    assert np.asarray(found.user_ids).tolist() == ["a", "nan"]  # text is what it says
    assert np.asarray(found.item_ids).tolist() == [7, 9]
    assert found.n_empty == 3


def test_numbers_stay_numbers_where_rows_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    table = pd.DataFrame({"user": [1.0, np.nan, 2.0], "item": [7, 8, 9]})
    table.to_csv(path, index=False)  # pandas writes 1.0
    table.to_parquet(path.with_suffix(".parquet"))
    for file in (path, path.with_suffix(".parquet")):
        assert np.asarray(read_ratings(file, drop_empty=True).user_ids).tolist() == [1, 2]


def test_other_faults_are_told_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("user,item,time\na,x,5000000000000000000\n,y,1\n")
    with pytest.raises(ValueError, match=r"line 2: timestamp '5000000000000000000' must be second"):
        read_ratings(path, drop_empty=True)
    path.write_text("user,item,time\n,x,1000000000\na,y,x\n")
    with pytest.raises(ValueError, match="line 3: timestamp 'x' must be seconds"):
        read_ratings(path, drop_empty=True)  # the place is that of the whole file
    path.write_text("user,item,time\n,x,1\na,,2\n")
    with pytest.raises(ValueError, match="every row has an empty cell"):
        read_ratings(path, drop_empty=True)


def test_the_first_fault_of_a_file_is_told_where_a_later_batch_has_another(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("user,item\na,x\n,y\nb")  # the last line, without an end, is a batch
    with pytest.raises(ValueError, match=r"line 3: user '' must .* at least 1 row has an empty c"):
        read_ratings(path)


def test_a_file_without_empty_cells_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    TABLE.replace(" ", "w").replace("", None).fillna(
        {"user": "v", "item": "v", "rating": 1}
    ).to_csv(path, index=False)
    plain, asked = (load_interactions(str(path), drop_empty=drop) for drop in (False, True))
    assert asked.fingerprint == plain.fingerprint
    assert [*asked.columns_read] == [*plain.columns_read, "left out by --drop-empty: 0 of 6 rows"]


def test_prepared_data_are_of_the_way_they_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCF_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "CACHED_FROM_BYTES", 1)
    path = tmp_path / "shop.csv"
    path.write_text("user,item\na,x\n,x\na,y\nb,x\nb,\n")
    for _ in range(2):  # the second time from what was kept
        found = load_interactions(str(path), drop_empty=True)
        assert found.n_interactions == 3
        assert "2 of 5 rows" in found.columns_read[-1]
        with pytest.raises(ValueError, match="2 rows have an empty cell"):
            load_interactions(str(path))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", "", " \u00a0", None]), [False, True, True, True]),
        (pa.array(["a", "", None, "a"]).dictionary_encode(), [False, True, True, False]),
        (pa.array([None, None], pa.string()).dictionary_encode(), [True, True]),
        (pa.array([0.0, float("nan"), None]), [False, True, True]),
        (pa.array([0, None]), [False, True]),
        (pa.array([b"a", b"", b" \n", b"\xff", None]), [False, True, True, False, True]),
        (pa.array([b"a", b"", b"a"]).dictionary_encode(), [False, True, False]),
        (pa.array([b"", b"a"], pa.large_binary()), [True, False]),
        (pa.array([None, None]), [True, True]),
    ],
)
def test_what_is_empty(column: pa.Array, expected: list[bool]) -> None:
    assert are_empty(column).tolist() == expected
