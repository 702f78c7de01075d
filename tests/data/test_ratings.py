"""Tests of `ratings.py`, `columns.py` and `delimited.py`: formats, and each bad input."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ncf.data import streams
from ncf.data.columns import USUAL_NAMES, Columns
from ncf.data.datasets import load_interactions
from ncf.data.ratings import read_ratings

DAY = 1_000_000_000  # a second of 2001
ROWS = [
    (7, 30, 4.5, DAY + 100), (3, 10, 2.0, DAY + 300), (7, 10, 5.0, DAY + 200),
    (3, 30, 0.5, DAY + 100), (3, 20, 3, DAY + 100),
]  # fmt: skip


def text(separator: str, header: str = "", rows: list[Any] = ROWS) -> str:
    lines = [separator.join(map(str, row)) for row in rows]
    return "\n".join([header, *lines] if header else lines) + "\n"


CSV = text(",", "userId,movieId,rating,timestamp")


def read(path: Path, columns: Columns = USUAL_NAMES, min_rating: float | None = None) -> list[Any]:
    """Returns the rows read: (user id, item id, time)."""
    ratings = read_ratings(path, columns, min_rating)
    columns_read = [np.asarray(ids).tolist() for ids in (ratings.user_ids, ratings.item_ids)]
    times = ratings.timestamps
    columns_read.append([None] * len(columns_read[0]) if times is None else times.tolist())
    return list(zip(*columns_read, strict=True))


EXPECTED = [(user, item, time) for user, item, _, time in ROWS]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ratings.csv", CSV),
        ("u.data", text("\t")),
        ("ratings.dat", text("::")),
        ("no_header.csv", text(",")),
        ("semicolons.csv", text(";", "user;item;score;time")),
        ("ml.inter", text("\t", "user_id:token\titem_id:token\trating:float\ttimestamp:float")),
        ("named.dat", text("::", "USER ID::Movie_Id::Rating::Timestamp")),
        ("crlf.csv", CSV.replace("\n", "\r\n")),
        ("bom.csv", "\ufeff" + CSV),
        ("bom_no_header.csv", "\ufeff" + text(",")),
        ("empty_lines.csv", "\n\n" + CSV.replace("\n", "\n\n")),
        ("no_last_newline.csv", CSV.rstrip()),
        ("quoted.csv", CSV.replace("7,30", '"7","30"').replace("userId", '"userId"')),
        ("more.csv", "x,userId,movieId,y,rating,timestamp\n" + "".join(
            f'"a,\n""b",{u},{i},\xe9,{r},{t}\n' for u, i, r, t in ROWS)),
        ("floats.csv", CSV.replace("1000000100\n", "10.000001e8\n").replace("300\n", "300.0\n")),
        ("iso.csv", CSV.replace("1000000100\n", "2001-09-09T01:48:20Z\n")
            .replace("1000000200\n", "2001-09-09 01:50:00\n")
            .replace("1000000300\n", "2001-09-09T02:51:40+01:00\n")),
    ],
)  # fmt: skip
def test_text_formats(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert read(path) == EXPECTED


def zipped(content: bytes, names: tuple[str, ...] = ("ratings.csv",)) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            # without the time of now, which would give a test another name in each process
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def locked(content: bytes) -> bytes:
    """Returns a zip file that says that it is encrypted."""
    for mark in (b"PK\3\4\x14\0", b"PK\1\2\x14\3\x14\0"):
        content = content.replace(mark + b"\0", mark + b"\1")
    return content


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
    ".zip": zipped,
}


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ratings.csv{suffix}"
    path.write_bytes(COMPRESSORS[suffix](CSV.encode()))
    assert read(path) == EXPECTED


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_cut_short(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(1, 10**6, (20_000, 4)).tolist()
    whole = COMPRESSORS[suffix](text(",", rows=noise).encode())
    path = tmp_path / f"ratings.csv{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        ValueError, match=r"damaged, cut short or locked \(.*\); fetch it again"
    ) as e:
        read(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("times", ["int", "float", "datetime", "zone", "text", "milliseconds"])
def test_parquet(tmp_path: Path, times: str) -> None:
    frame = pd.DataFrame(ROWS, columns=["uid", "iid", "score", "time"])
    stamps = pd.to_datetime(frame["time"], unit="s")
    kinds: dict[str, Any] = {
        "int": frame["time"],
        "float": frame["time"].astype(float),
        "datetime": stamps,
        "zone": stamps.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
        "text": stamps.astype(str),
        "milliseconds": frame["time"],
    }
    frame["time"] = kinds[times]
    expected = EXPECTED
    if times == "milliseconds":
        frame["time"] = (frame["time"] + 10**9) * 1000
        expected = [(user, item, time + 10**9) for user, item, time in EXPECTED]
    frame.to_parquet(tmp_path / "r.parquet", row_group_size=2)
    assert read(tmp_path / "r.parquet") == expected


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_batch_of_whole_seconds_is_of_its_time_beside_parts_of_seconds(
    tmp_path: Path, kind: str
) -> None:
    start = 1_600_000_000
    rows = [(1, 5, start + 3), (2, 5, start + 1.5), (1, 6, start + 1.25), (2, 6, start + 2)]
    path = tmp_path / f"r.{kind}"
    if kind == "csv":  # its last line has no end, and so is a batch of its own
        path.write_text(text(",", "user,item,time", rows).rstrip())
    elif kind == "jsonl":
        lines = (json.dumps(dict(zip(("user", "item", "time"), row, strict=True))) for row in rows)
        path.write_text("\n".join(lines))
    else:
        path.mkdir()
        for number, part in enumerate((rows[:1], rows[1:3], rows[3:])):
            frame = pd.DataFrame(part, columns=["user", "item", "time"])
            frame.to_parquet(path / f"{number}.parquet")
    in_order = [(1, 6, start + 1), (2, 5, start + 1), (2, 6, start + 2), (1, 5, start + 3)]
    assert read(path) == in_order


def test_decimal_commas_between_semicolons(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user;item;rating\n1;5;7,25\n2;5;7\n1;6;-0,5\n2;6;7,3\n")
    found = read_ratings(tmp_path / "r.csv", min_rating=7.25)
    assert np.asarray(found.user_ids).tolist() == [1, 2]
    assert np.asarray(found.item_ids).tolist() == [5, 6]
    (tmp_path / "r.csv").write_text("user;item;rating\n1;5;7,25\n2;5;\n1;6;7,3\n")
    with pytest.raises(ValueError, match="line 3: rating '' must not be empty; 1 row has an empty"):
        read_ratings(tmp_path / "r.csv")
    assert read_ratings(tmp_path / "r.csv", drop_empty=True).n_empty == 1


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_parquet_of_dates(tmp_path: Path, kind: pa.DataType) -> None:
    days = pa.array([18_262, 18_263, 18_320], pa.int32()).cast(pa.date32()).cast(kind)
    table = pa.table({"user": [1, 2, 1], "item": [5, 5, 6], "date": days})
    pq.write_table(table, tmp_path / "r.parquet")
    times = [day * 86_400 for day in (18_262, 18_263, 18_320)]
    assert read(tmp_path / "r.parquet") == [(1, 5, times[0]), (2, 5, times[1]), (1, 6, times[2])]
    table = table.set_column(2, "date", pa.array([days[0].as_py(), None, days[2].as_py()], kind))
    pq.write_table(table, tmp_path / "r.parquet")
    with pytest.raises(ValueError, match="row 2: timestamp None must not be empty; 1 row has an"):
        read(tmp_path / "r.parquet")


@pytest.mark.parametrize("kind", ["text", "category", "int32", "int category"])
def test_parquet_ids(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "rating", "time"])
    kinds: dict[str, list[Any]] = {
        "text": [str],
        "category": [str, "category"],
        "int32": ["int32"],
        "int category": ["category"],
    }
    for step in kinds[kind]:
        frame = frame.astype({"user": step, "item": step})
    frame.to_parquet(tmp_path / "r.parquet", row_group_size=2)
    own: Any = str if kind in ("text", "category") else int
    assert read(tmp_path / "r.parquet") == [(own(u), own(i), t) for u, i, t in EXPECTED]


def test_all_formats_give_one_fingerprint(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=["user_id", "item_id", "rating", "timestamp"])
    frame.to_parquet(tmp_path / "r.pq")
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(CSV.encode(), mtime=0))
    (tmp_path / "r.dat").write_text(text("::"))
    (tmp_path / "r.tsv").write_text(text("\t"))
    fingerprints = {load_interactions(str(path)).fingerprint for path in tmp_path.iterdir()}
    assert len(fingerprints) == 1


def test_text_ids(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text('user,item\nzoë,"a,b"\n"q""x",1.0\n东京,NA\nzoë,7\n', encoding="utf-8")
    assert read(path) == [
        ("zoë", "a,b", None), ('q"x', "1.0", None), ("东京", "NA", None), ("zoë", "7", None),
    ]  # fmt: skip


@pytest.fixture(params=[1, 2])
def n_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs a test with one and with two threads in pyarrow, whose messages differ."""
    before = pa.cpu_count()
    pa.set_cpu_count(request.param)
    yield
    pa.set_cpu_count(before)


@pytest.mark.usefixtures("n_threads")
def test_one_text_id_far_down_makes_all_ids_text(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    rows = [(row, 10**10 + row, 5, 1e9) for row in range(300_000)]
    path.write_text(text(",", "user,item,rating,time", rows) + "x,1,5,1\n")
    ratings = read_ratings(path)
    assert ratings.user_ids[17] == "17"
    assert ratings.user_ids[300_000] == "x"
    assert ratings.item_ids[17] == 10**10 + 17


@pytest.mark.usefixtures("n_threads")
def test_blocks_cut_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.read_blocks, "__defaults__", (2**9,))
    rows = [(f"u{row % 7}", f"i{row}", row % 5, DAY + row) for row in range(500)]
    lines = [f'{user},{item},{rating},{time},"a\n""{row}"' for row, (user, item, rating, time)
             in enumerate(rows)]  # fmt: skip
    path = tmp_path / "r.csv"
    path.write_text("\n".join(["user,item,rating,time,review", *lines]))
    expected = [(user, item, time) for user, item, rating, time in rows if rating >= 2]
    assert read(path, min_rating=2) == expected
    path.write_text("\n".join(["user,item,rating,time,review", *lines, ",x,1,1,"]))
    with pytest.raises(ValueError, match=r"r.csv, line 1002: user '' must not be empty"):
        read(path)


def test_two_columns_are_interactions_in_file_order(tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text("2,9\n1,9\n2,8\n")
    assert read(tmp_path / "plays.csv") == [(2, 9, None), (1, 9, None), (2, 8, None)]


def test_named_columns(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("who,user,what,stars,when:x\n1,8,2,3,4\n5,8,6,7,8\n")
    columns = Columns(user="who", item="what", rating="stars", timestamp="when:x")
    assert read(path, columns, min_rating=4) == [(5, 6, 8)]


def test_min_rating_keeps_what_reaches_it(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(CSV)
    expected = [(user, item, time) for user, item, rating, time in ROWS if rating >= 3]
    assert read(tmp_path / "r.csv", min_rating=3) == expected
    (tmp_path / "t.csv").write_text(CSV.replace("\n7", "\na7").replace("\n3", "\na3"))
    as_text = [(f"a{user}", item, time) for user, item, time in expected]
    assert read(tmp_path / "t.csv", min_rating=3) == as_text


def test_milliseconds_order_the_rows_and_become_seconds(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("1,5,1,978300760900\n1,6,1,978300760100\n2,5,1,978300761000\n")
    assert read(path) == [(1, 6, 978300760), (1, 5, 978300760), (2, 5, 978300761)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", "", "r.csv: the file is empty; give one with users and items"),
        ("r.csv", "\n\n", "r.csv: the file is empty; give one with users and items"),
        ("r.csv", "user,item\n", "r.csv: no rows after the header; give a file with"),
        ("r.csv", "user,item", "r.csv: no rows after the header; give a file with"),
        ("r.csv", "user,item,rating\n1,2,3\n1,2\n", "r.csv, line 3: expected 3 fields, got 2; cor"),
        ("r.csv", "1,2,3\n\n1,2,3,4\n", "r.csv, line 3: expected 3 fields, got 4; correct or re"),
        ("r.dat", "1::2::3\n1::2\n", "r.dat, line 2: expected 3 fields, got 2; correct or remove"),
        ("r.dat", "1::2::3\n1:x:2::3\n", "r.dat, line 2: expected 3 fields, got 2; correct or re"),
        (
            "r.dat",
            "1:x::2::3\n",
            "r.dat, line 1: a value has a ':' in it, which '::' files cannot ho",
        ),
        (
            "r.csv",
            'a,b\n"c,d\ne,f\n',
            "r.csv, line 2: a quote is not closed; double a quote",
        ),
        ("r.csv", "user,rating\n1,2\n", "r.csv, line 1: no item column among 'user', 'rating'; na"),
        ("r.csv", "who,what\n1,2\n", "r.csv, line 1: no known column among 'who', 'what'; name th"),
        ("r.csv", "1,2,3,4,5\n", "r.csv, line 1: no known column among '1', '2', '3', '4', '5'; n"),
        (
            "r.csv",
            "user,uid,item\n1,2,3\n",
            "r.csv, line 1: 'user' and 'uid' could each be the use",
        ),
        ("r.txt", "1\n2\n", "r.txt, line 1: one column only; separate users and items by a comma"),
        ("r.csv", "a,b\n1,2\r3,4\n", "r.csv, line 2: a carriage return is within the line; save"),
        ("r.csv", "1;2;3,5\n1;3;3.5\n", "r.csv, line 1: rating '3,5' has a comma; where it is "),
        ("r.csv", "1;2;3,500\n", "r.csv, line 1: rating '3,500' has a comma; where it is decimal,"),
        ("r.csv", '1,2,"3,5"\n', "r.csv, line 1: rating '3,5' has a comma; where it is decimal, w"),
        ("r.csv", "1,2,3\n1,2,\n", "r.csv, line 2: rating '' must not be empty; 1 row has an "),
        ("r.csv", "1,2,3\n1,2,x\n", "r.csv, line 2: rating 'x' must be a finite number; correct"),
        ("r.csv", "1,2,3\n1,2,1_0\n", "r.csv, line 2: rating '1_0' must be a finite number; corre"),
        ("r.csv", "1,2,3\n1,2,1\u2028\n", "r.csv, line 2: rating '1\\u2028' must be a finite numb"),
        ("r.csv", "1,2,3\n1,2,NaN\n", "r.csv, line 2: rating 'NaN' must be a finite number; corr"),
        ("r.csv", "1,2,3\n1,2,-inf\n", "r.csv, line 2: rating '-inf' must be a finite number; co"),
        ("r.csv", "1,2,3,4\n1,2,3,\n", "r.csv, line 2: timestamp '' must not be empty; 1 row ha"),
        ("r.csv", "1,2,3,4\n1,2,3,x\n", "r.csv, line 2: timestamp 'x' must be seconds or millise"),
        ("r.csv", "1,2,3,4\n1,2,3,nan\n", "r.csv, line 2: timestamp 'nan' must be seconds or mil"),
        ("r.csv", "1,2,3,4\n1,2,3,-1\n", "r.csv, line 2: timestamp '-1' must be seconds or milli"),
        ("r.csv", "1,2,3,4\n1,2,3,5e9\n", "r.csv, line 2: timestamp '5e9' must be seconds or mil"),
        ("r.csv", "1,2,3,4\n1,2,3,9000000000000\n", "r.csv, line 2: timestamp '9000000000000' mus"),
        ("r.csv", "1,2,3,2150-01-01\n1,2,3,4\n", "r.csv, line 1: timestamp '2150-01-01' must be"),
        ("r.csv", "1,2,3\n,2,3\n", "r.csv, line 2: user '' must not be empty; 1 row has an "),
        ("r.csv", 'a,b,3\na,"",3\n', "r.csv, line 2: item '' must not be empty; 1 row has an e"),
        ("r.csv", 'x,user,item\n"a\nb",1,2\nc,,3\n', "r.csv, line 4: user '' must not be empty"),
        (
            "r.csv",
            "a,b\nc,d\ne\0,f\n",
            "r.csv, line 3: user 'e\\x00' must not hold a NUL; correct",
        ),
        (
            "r.csv",
            b"1,2,3,4\n1,2,3,\xff\n",
            "r.csv, line 2: timestamp '\\udcff' is not UTF-8; save",
        ),
        ("r.csv", b"a,b\nc\xff,d\n", "r.csv, line 2: user 'c\\udcff' is not UTF-8; save the file"),
        (
            "r.csv",
            b"\x89PNG\r\n\x1a\n\0\0",
            "r.csv, line 2: binary data; give UTF-8 text or parque",
        ),
        (
            "r.csv",
            gzip.compress(CSV.encode(), mtime=0),
            "r.csv, line 1: binary data; give UTF-8 text or pa",
        ),
        ("r.csv.gz", CSV, "r.csv.gz: damaged, cut short or locked (Not a gzipped file"),
        ("r.parquet", CSV, "r.parquet: not a whole parquet file ("),
        (
            "r.zip",
            locked(zipped(b"1,2")),
            "r.zip: damaged, cut short or locked (File ",
        ),
        ("r.zip", zipped(b"1,2", ("a", "b")), "r.zip: must hold one file, holds 2; unpack it and"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=r".") as error:
        read(path)
    assert str(error.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(error.value)
    assert ";" in str(error.value), "the remedy"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"user": [1, 2], "rating": [1, 2]}, ": no item column among 'user', 'rating'; name it"),
        (
            {"user": np.array([2**64 - 1], np.uint64), "item": [1]},
            ", user ids must be below 2**63; cast the colum",
        ),
        ({"user": [1.5, 2.0], "item": [1, 2]}, ", user ids must be integers or text, got double "),
        ({"user": ["a", None], "item": [1, 2]}, ", row 2: user None must not be empty; 1 row h"),
        ({"user": ["a", ""], "item": [1, 2]}, ", row 2: user '' must not be empty; 1 row has an "),
        ({"user": [1, 2], "item": [3, 4], "rating": [0.5, None]}, ", row 2: rating None must not "),
        ({"user": [1, 2], "item": [3, 4], "rating": ["x", "y"]}, ", row 1: rating 'x' must be a"),
        ({"user": [1, 2], "item": [3, 4], "time": [5, -7]}, ", row 2: timestamp -7 must be second"),
        ({"user": [1, 2], "item": [3, 4], "time": ["2001-01-01", "x"]}, ", row 2: timestamp 'x' m"),
        ({"user": [], "item": []}, ": no rows after the header; give a file with users and items"),
    ],
)
def test_bad_parquet(tmp_path: Path, frame: dict[str, Any], message: str) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({name: pa.array(c) for name, c in frame.items()}), path)
    with pytest.raises(ValueError, match=r".") as error:
        read(path)
    assert str(error.value).startswith(f"{path}{message}")
    assert ";" in str(error.value), "the remedy"


@pytest.mark.parametrize(
    ("content", "columns", "min_rating", "message"),
    [
        (
            CSV,
            Columns(user="who"),
            None,
            ", line 1: no user column 'who' among 'userId', 'movieId'",
        ),
        (text(","), Columns(user="who"), None, ", line 1: no 'who' among '7', '30', '4.5'"),
        (CSV, Columns(), 6.0, ": no rating reaches min_rating=6.0; the highest is 5.0, so lower"),
        ("1,2\n3,4\n", Columns(), 6.0, ": min_rating=6.0 needs a rating column, and there is none"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, content: str, columns: Columns, min_rating: float | None, message: str
) -> None:
    path = tmp_path / "r.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=r".") as error:
        read(path, columns, min_rating)
    assert str(error.value).startswith(f"{path}{message}")


def test_missing_file_folder_and_nan(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent.csv: no such file; check the path"):
        read(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match="a folder of no files; give the path of one"):
        read(tmp_path)
    (tmp_path / "r.csv").write_text(CSV)
    with pytest.raises(ValueError, match="min_rating must be a finite number, got nan"):
        read(tmp_path / "r.csv", min_rating=float("nan"))
