"""Files in the shapes that public sets have: what each means, and what is refused as ambiguous.

All hold the same interactions of made-up people.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import math
import random
import shlex
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ncf.data import streams
from ncf.data.columns import Columns, parse_columns
from ncf.data.datasets import load_interactions, name_of
from ncf.data.interactions import Interactions

_RANDOM = random.Random(0)
PAIRS = [(1000 + _RANDOM.randrange(60), 10 + _RANDOM.randrange(140)) for _ in range(800)]
ROWS = [
    (user, item, 1 + (user + item) % 5, 1_600_000_000 + 10_000 * _RANDOM.randrange(1000) + place)
    for place, (user, item) in enumerate(dict.fromkeys(PAIRS))
]
N = len(ROWS)
LONE = range(100, 700, 137)  # rows whose name begins with a quote that nothing closes


def lines(template: str, header: str = "") -> str:
    """Returns a line for each row: {u}, {i}, {r}, {t} and {n}, a row's number, are its values."""
    body = "".join(
        template.format(u=user, i=item, r=rating, t=time, n=place) + "\n"
        for place, (user, item, rating, time) in enumerate(ROWS)
    )
    return (f"{header}\n" if header else "") + body


def named(template: str, header: str) -> str:
    """Returns lines with {name}, which begins with a lone quote in some rows."""
    rows = []
    for place, (user, item, _, time) in enumerate(ROWS):
        name = f'"Band {item}' if place in LONE else f"Band {item}"
        rows.append(template.format(u=user, i=item, t=time, name=name))
    return "\n".join([header, *rows, ""])


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def triples(read: Interactions) -> set[tuple[Any, Any, int]]:
    """Returns own user id, own item id and time of each interaction."""
    users = read.user_ids.repeat(read.indptr[1:] - read.indptr[:-1]).tolist()
    items = read.item_ids[read.items].tolist()
    return set(zip(users, items, read.timestamps.tolist(), strict=True))


EXPECTED = {(user, item, time) for user, item, _, time in ROWS}
PLAIN = lines("{u},{i},{r},{t}", "user,item,rating,timestamp")


# Quotes


def test_in_a_file_of_tabs_a_quote_is_a_plain_character(tmp_path: Path) -> None:
    content = named("{u}\t{i}\t{name}\t{t}", "user\titem\tname\ttimestamp")
    assert triples(load_interactions(str(write(tmp_path, "r.tsv", content)))) == EXPECTED
    content = named("{u}\t{name}\t{t}", "user\titem\ttimestamp")
    ids = load_interactions(str(write(tmp_path, "r.tsv", content))).item_ids.tolist()
    assert f'"Band {ROWS[100][1]}' in ids


@pytest.mark.parametrize("block", [2**9, 2**22])
@pytest.mark.parametrize("template", ["{u},{name},{t}", "{u},{t},{name}", "{name},{u},{t}"])
def test_a_quote_that_swallows_rows_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, block: int
) -> None:
    monkeypatch.setattr(streams.read_blocks, "__defaults__", (block,))
    header = template.translate(str.maketrans("", "", "{}"))
    columns = parse_columns("user=u,item=name,timestamp=t")
    path = write(tmp_path, "r.csv", named(template, header))
    with pytest.raises(ValueError, match=r"r\.csv, line 102: a quote begins a value that goes ov"):
        load_interactions(str(path), columns)


def test_a_quoted_value_may_have_lines_delimiters_and_quotes(tmp_path: Path) -> None:
    text = '"I said: ""no, no"",\nthen\n{u},\nand went; "'
    path = write(tmp_path, "r.csv", lines(f"{{u}},{{i}},{text},{{t}}", "user,item,text,timestamp"))
    assert triples(load_interactions(str(path))) == EXPECTED


def test_a_quote_is_found_where_no_column_holds_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "r.csv", named("u{u},{name}", "user,item"))
    with pytest.raises(ValueError, match=r"r\.csv, line 102: a quote begins a value that goes ov"):
        load_interactions(str(path))
    review = '"Great, yes\nand good, too"'  # each line has two fields
    path = write(tmp_path, "r.csv", lines(f"u{{u}},b{{i}},{review}", "user,item,review"))
    assert load_interactions(str(path)).n_interactions == N
    review = '"Great\nand good, too, yes"'  # each line has three fields, as a row has
    path = write(tmp_path, "r.csv", lines(f"u{{u}},b{{i}},{review}", "user,item,review"))
    assert load_interactions(str(path)).n_interactions == N


def test_a_quote_that_is_not_closed_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "r.csv", PLAIN + '1,"2,3,1600000000\n')
    with pytest.raises(ValueError, match=rf"line {N + 2}: a quote is not closed; double a quote"):
        load_interactions(str(path))


def test_a_field_may_be_longer_than_128_kib(tmp_path: Path) -> None:
    long = "x, y\n" * 40_000
    rows = [
        f'{line},"{long if place == 3 else "a, b"}"\n'
        for place, line in enumerate(PLAIN.splitlines()[1:])
    ]
    path = write(tmp_path, "r.csv", "".join(["user,item,rating,timestamp,text\n", *rows]))
    assert triples(load_interactions(str(path))) == EXPECTED


# Layouts


@pytest.mark.parametrize(
    ("name", "content", "option"),
    [
        ("uit.csv", lines("{u},{i},{t}"), None),
        ("uirt.csv", lines("{u},{i},{r},{t}"), None),
        ("uti.csv", lines("{u},{t},{i}"), "user=1,item=3,timestamp=2"),
        ("uitr.csv", lines("{u},{i},{t},{r}"), "user=1,item=2,timestamp=3,rating=4"),
        ("five.csv", lines("{u},{i},pv,4,{t}"), "user=1,item=2,timestamp=5"),
        ("counted.csv", lines("{u},{i},{r},{t}", "0,1,2,3"), None),
        ("counted.csv", lines("{t},{i},{r},{u}", "0,1,2,3"), "user=4,item=2,timestamp=1"),
        ("counted.csv", lines("{u},{i},{r},{t}", "0,1,2,3"), "user=0,item=1,timestamp=3"),
        ("unknown.csv", lines("{u},{i},{t}", "who,what,when"), "user=who,item=what,timestamp=when"),
        ("unknown.csv", lines("{u},{i},{t}", "who,what,when"), "user=1,item=2,timestamp=3"),
        ("named.csv", lines("{i},{u},{t}", "user,item,time"), "user=2,item=1"),
        ("bars.txt", lines("{u}|{i}|{t}", "user|item|timestamp"), None),
        ("blanks.txt", lines("{u} {i} {r} {t}", "% bip weighted\n% 1 2 3"), None),
        ("excel.csv", "sep=;\n" + lines("{u};{i};{r};{t}", "user;item;rating;timestamp"), None),
        ("mac.csv", PLAIN.replace("\n", "\r"), None),
        ("utf16.txt", codecs.BOM_UTF16_LE + PLAIN.replace(",", "\t").encode("utf-16-le"), None),
        ("utf16.csv", codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"), None),
        ("unmarked.csv", PLAIN.encode("utf-16-le"), None),
        ("100% ?new.2024.01.csv", PLAIN, None),
    ],
)  # fmt: skip
def test_a_layout_that_is_read(
    tmp_path: Path, name: str, content: str | bytes, option: str | None
) -> None:
    read = load_interactions(str(write(tmp_path, name, content)), parse_columns(option))
    assert triples(read) == EXPECTED
    assert read.has_times


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines("{u},{i},{t},{r}"), "rating would be column 3.*user=1,item=2,timestamp=3"),
        (lines("{u},{t},{i}"), "item would be column 2, .*--columns user=1,timestamp=2,item=3"),
        (lines("{t},{u},{i}"), "user would be column 1, .*--columns timestamp=1,user=2,item=3"),
        (lines("{u},{t}"), "item would be column 2, which seems to hold times"),
        (lines("{u},2014-04-07T10:51:09.277Z,{i},0"), "item would be column 2, .*2014-04-07T10"),
        (lines("B00000{i:04},A{u}XYZ1,{r}.0,{t}"), "Amazon's ids of items .*item=1,user=2"),
        (lines("{u},{i},{t},{r}", "user,item,rating,timestamp"), "all in January 1970, .*name the"),
        (lines("{u},{i},{t}", "user,item,rating"), "can only be times; say so: .*timestamp=rating"),
        (lines("L{u},T{i}", "listener,track"), "no user column among 'listener', 'track'; name it"),
        (lines("L{u},T{i}", "who,what"), "no known column among 'who', 'what'; name them: --colum"),
        (lines("x{u},{i}", "shop_id,what"), "no known column among 'shop_id', 'what'; name them"),
        (lines("{u},{i},{t},1,2"), "no known column .*without a header, give their positions"),
        (lines("L{u},T{i}", "user,item") * 2, "r.csv: 1 rows repeat the header, as where files"),
        (lines("{i}:\n{u},{r},2005-09-06"), "line 1: a line with one item, and then its users"),
    ],
)  # fmt: skip
def test_a_layout_that_could_be_another_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_interactions(str(write(tmp_path, "r.csv", content)))


def test_a_column_that_is_named_is_taken_at_its_word(tmp_path: Path) -> None:
    path = write(tmp_path, "r.csv", lines("{u},{i},{r},{n}", "User ID,item,label,timestamp"))
    with pytest.raises(ValueError, match="columns 'user=User ID,item=item,timestamp=timestamp'"):
        load_interactions(str(path))
    read = load_interactions(str(path), parse_columns("timestamp=timestamp"))
    assert read.timestamps.max() == N - 1
    path = write(tmp_path, "r.csv", lines("{u},{i},{t}", "user,item,rating"))
    read = load_interactions(str(path), parse_columns("rating=rating"))
    assert not read.has_times


def test_a_delimiter_within_the_first_row_does_not_count(tmp_path: Path) -> None:
    content = lines("{u},Film {i},{r}").replace(f"Film {ROWS[0][1]},", "Fast; Furious,", 1)
    read = load_interactions(str(write(tmp_path, "r.csv", content)))
    assert read.n_interactions == N
    assert "Fast; Furious" in read.item_ids.tolist()
    assert not read.has_times


@pytest.mark.parametrize("header", ["Kunde,Artikel", "kunde_nr,artikel_nr"])
def test_a_name_that_is_nearly_right_is_suggested(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, "r.csv", f"{header}\na,x\nb,y\n")
    name = header.partition(",")[0]
    with pytest.raises(ValueError, match=f"did you mean {name!r}\\? "):
        load_interactions(str(path), parse_columns("user=kunde,item=ArtikelX"))
    path = write(tmp_path, "r.csv", f"{header},user\na,x,1\nb,y,1\n")
    with pytest.raises(ValueError, match=f"no user column 'kundE' .*did you mean {name!r}\\? name"):
        load_interactions(str(path), parse_columns("user=kundE"))
    path = write(tmp_path, "r.csv", ",user,what\n0,a,x\n1,b,y\n")  # as pandas writes its index
    with pytest.raises(ValueError, match="no item column among '', 'user', 'what'; name it: "):
        load_interactions(str(path))


def test_kinds_of_events_are_said_to_count_alike(tmp_path: Path) -> None:
    kinds = ["view", "cart", "buy"] * N
    users, items, _, times = zip(*ROWS, strict=True)
    columns = {"user_id": users, "item_id": items, "ts": times, "event_type": kinds[:N]}
    pq.write_table(pa.table(columns), tmp_path / "clicks.parquet")
    assert load_interactions(str(tmp_path / "clicks.parquet")).columns_read[-1] == (
        "not read: 'event_type'; every row counts alike, whatever its 'event_type' says"
    )


def test_two_columns_may_begin_with_0_and_1(tmp_path: Path) -> None:
    assert load_interactions(str(write(tmp_path, "r.csv", "0,1\n0,2\n1,2\n"))).n_interactions == 3


def test_what_is_taken_as_what_is_said_with_two_values(tmp_path: Path) -> None:
    read = load_interactions(str(write(tmp_path, "r.csv", lines("{u},{i},{r},{t}000"))))
    user, item, rating, timestamp, note = read.columns_read
    first, second = ROWS[:2]
    assert user == f"user: column 1, such as {first[0]} and {second[0]}"
    assert item.startswith("item: column 2, such as ")
    assert rating.endswith("; not used without --min-rating")
    day = datetime.fromtimestamp(first[3], UTC).strftime("%Y-%m-%d %H:%M:%S")
    assert timestamp.startswith(f"timestamp: column 4, such as {first[3]}000 ({day}) and ")
    assert timestamp.endswith(", in milliseconds")
    assert note.endswith("--columns user=1,item=2,rating=3,timestamp=4")
    read = load_interactions(str(write(tmp_path, "r.csv", lines("{u},x,{i}", "userId,shop,item"))))
    assert read.columns_read[0].startswith("user: column 1 'userId', such as ")
    assert read.columns_read[2:] == (
        "timestamp: none; the order of the file's rows is taken for the order in time",
        "not read: 'shop'",
    )


# Own ids


@pytest.mark.parametrize(
    ("template", "user", "item"),
    [
        ("{u:06},{i:010}", "001000", "0000000010"),
        ('"{u:06}","{i:010}"', "001000", "0000000010"),
        ("{u:#x},{i}", "0x3e8", 10),
        ("{u}.0,{i}.0", 1000, 10),
        ("{u}.5,{i}", "1000.5", 10),
        (" {u}\u00a0,\u3000{i}\u00a0 ", 1000, 10),
        ("+{u},{i}", "+1000", 10),
        ("-{u},{i}", -1000, 10),
        ("{u}e0,{i}", "1000e0", 10),
        ("12345678901234567{u},{i}", "123456789012345671000", 10),
    ],
)
def test_own_ids_come_back_as_they_were_written(
    tmp_path: Path, template: str, user: object, item: object
) -> None:
    read = load_interactions(str(write(tmp_path, "r.csv", lines(template, "user,item"))))
    assert user in read.user_ids.tolist()
    assert item in read.item_ids.tolist()
    assert (read.n_users, read.n_items, read.n_interactions) == (60, 139, N)
    assert read.remarks == ()


def test_7_and_007_stay_two_ids(tmp_path: Path) -> None:
    read = load_interactions(str(write(tmp_path, "r.csv", "user,item\n7,1\n007,1\n7,2\n")))
    assert read.user_ids.tolist() == ["007", "7"]


@pytest.mark.parametrize("block", [2**9, 2**22])
def test_one_id_far_down_decides_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(streams.read_blocks, "__defaults__", (block,))
    path = write(tmp_path, "r.csv", lines("{u},{i}", "user,item") + "1000.0,11\n")
    assert load_interactions(str(path)).user_ids[0] == 1000
    path = write(tmp_path, "r.csv", lines("{u}.0,{i}", "user,item") + "x,11\n")
    assert load_interactions(str(path)).user_ids[0] == "1000.0"


@pytest.mark.parametrize("value", ["NULL", "nan", r"\N", "-1", "N/A"])
def test_ids_that_stand_for_none_are_warned_of(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, "r.csv", PLAIN.replace(f"\n{ROWS[0][0]},", f"\n{value},"))
    (remark,) = load_interactions(str(path)).remarks
    n_rows = sum(row[0] == ROWS[0][0] for row in ROWS)
    assert remark.startswith(f"{n_rows} rows have the user {value!r}, which often stands for none")


@pytest.mark.parametrize("template", ["9.0{n:01}E+17", "9007199254740{u}.0"])
def test_numbers_that_lost_digits_are_warned_of(tmp_path: Path, template: str) -> None:
    content = lines(template + ",{i}", "user,item")
    (remark,) = load_interactions(str(write(tmp_path, "r.csv", content))).remarks
    assert "look like numbers that lost digits in a spreadsheet" in remark


# A no is no interaction


@pytest.mark.parametrize("name", ["label", "click", "is_read", "outcome"])
@pytest.mark.parametrize(
    "words", [("0", "1"), ("false", "True"), ("0.0", "1.0"), ("-1", "1"), ("no", "yes")]
)
def test_a_column_of_yes_and_no_must_be_decided_upon(
    tmp_path: Path, name: str, words: tuple[str, str]
) -> None:
    rows = [f"{user},{item},{words[rating > 2]}" for user, item, rating, _ in ROWS]
    path = write(tmp_path, "r.csv", "\n".join([f"user,item,{name}", *rows, ""]))
    with pytest.raises(ValueError, match=rf"--columns rating={name} --min-rating 1, or count ev"):
        load_interactions(str(path))
    columns = parse_columns(f"rating={name}")
    n_yes = sum(rating > 2 for _, _, rating, _ in ROWS)
    assert load_interactions(str(path), columns, 1).n_interactions == n_yes
    assert load_interactions(str(path), columns, -1).n_interactions == N
    write(tmp_path, "r.csv", lines("{u},{i},1", f"user,item,{name}"))
    assert load_interactions(str(path)).n_interactions == N


@pytest.mark.parametrize("drop_empty", [False, True])
@pytest.mark.parametrize("place", [3, 500])
@pytest.mark.parametrize("kind", ["csv", "NA", "jsonl", "NaN", "parquet", "floats"])
def test_an_empty_cell_does_not_hide_a_no(
    tmp_path: Path, kind: str, place: int, drop_empty: bool
) -> None:
    empty: Any = {"csv": "", "NA": "NA", "NaN": math.nan}.get(kind)
    rows: list[dict[str, Any]] = [
        {"user_id": user, "item_id": item, "timestamp": time, "clicked": n % 2}
        for n, (user, item, _, time) in enumerate(ROWS)
    ]
    rows[place]["clicked"] = empty
    path = tmp_path / "clicks"
    if kind in ("csv", "NA"):
        text = "\n".join(
            ",".join(map(str, row.values())) for row in [{n: n for n in rows[0]}, *rows]
        )
        path.write_text(text)
    elif kind in ("jsonl", "NaN"):
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        table = pa.Table.from_pylist(rows)
        if kind == "floats":
            table = pa.Table.from_pandas(pd.DataFrame(rows).astype({"clicked": float}))
        pq.write_table(table, path)
    with pytest.raises(ValueError, match=r"column 'clicked' holds only 0.* and 1.*; keep the rows"):
        load_interactions(str(path), drop_empty=drop_empty)


@pytest.mark.parametrize("tags", [["a"], {"a": 1}, "\ud800", 7])
def test_a_column_that_says_neither_yes_nor_no_may_hold_anything(tmp_path: Path, tags: Any) -> None:
    rows: list[dict[str, Any]] = [{"user": u, "item": i, "time": t} for u, i, _, t in ROWS]
    late = [row | {"tags": None} for row in rows]
    late[-1]["tags"] = tags  # after the rows that tell the columns
    path = write(tmp_path, "r.jsonl", "\n".join(map(json.dumps, late)))
    assert triples(load_interactions(str(path))) == EXPECTED
    if tags != "\ud800":
        table = pa.Table.from_pylist([row | {"tags": tags} for row in rows])
        pq.write_table(table, tmp_path / "r.parquet")
        assert triples(load_interactions(str(tmp_path / "r.parquet"))) == EXPECTED


def test_ratings_of_0_and_1_must_be_decided_upon(tmp_path: Path) -> None:
    rows = [f"{user},{item},{int(rating > 2)}" for user, item, rating, _ in ROWS]
    path = write(tmp_path, "r.csv", "\n".join(rows))
    with pytest.raises(ValueError, match="only 0 and 1; keep the rows with 1 by --min-rating 1, o"):
        load_interactions(str(path))
    assert load_interactions(str(path), min_rating=0).n_interactions == N


# Times


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("{t}000", 0), ("{t}000000", 0), ("{t}000000000", 0),
        ("{t}.250", 0), ("{iso} UTC", 0), ("{iso}+00:00", 0), ("{iso}.123456789", 0),
        ("{dots}", 0), ("{dots_and_comma}", 0),
        ("{slashes}", 0), ("{twitter}", 0), ("{mail}", 0), ("{iso}+00", 0),
        ("{t}123", 0), ("{t}123456", 0), ("{t}123456789", 0),
    ],
)  # fmt: skip
def test_times_in_many_ways(tmp_path: Path, written: str, parts: int) -> None:
    rows = []
    for user, item, _, time in ROWS:
        when = datetime.fromtimestamp(time + parts, UTC)
        text = written.format(
            t=time,
            iso=when.strftime("%Y-%m-%d %H:%M:%S"),
            slashes=when.strftime("%Y/%m/%d %H:%M:%S"),
            dots=f"{when.day}.{when.month}.{when:%Y %H:%M:%S}",
            dots_and_comma=when.strftime("%d.%m.%Y, %H:%M:%S"),
            mail=when.strftime("%a, %d %b %Y %H:%M:%S +0000"),
            twitter=when.strftime("%a %b %d %H:%M:%S +0000 %Y"),
        )
        rows.append(f'{user},{item},"{text}"')
    path = write(tmp_path, "r.csv", "\n".join(["user,item,time", *rows]))
    assert triples(load_interactions(str(path))) == EXPECTED


def test_a_date_that_does_not_say_which_is_its_day_is_refused(tmp_path: Path) -> None:
    for value in ("3/4/2021", "04/03/2021", "12.13.2021"):
        path = write(tmp_path, "r.csv", f"user,item,date\n1,5,{value}\n2,6,3.4.2021\n")
        rule = rf"line 2: timestamp '{value}' must be .* or DD.MM.YYYY, .* which is the day\); corr"
        with pytest.raises(ValueError, match=rule):
            load_interactions(str(path))


def test_dates_with_dots_are_told_without_a_header(tmp_path: Path) -> None:
    read = load_interactions(
        str(write(tmp_path, "r.csv", "1,5,3.4.2021\n1,6,24.12.2020\n2,5,1.1.2021"))
    )
    assert read.has_times
    assert read.item_ids[read.items].tolist() == [6, 5, 5]


@pytest.mark.parametrize(
    "name",
    [
        *("ts_ms", "ordered at", "orderedAt", "order_date", "day", "created", "order_dt", "times"),
        *("Zeit", "datum", "sold_on"),
    ],
)
def test_a_column_that_may_have_the_times_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, "r.csv", f"who,what,{name}\na,x,9\nb,y,8\n")
    read = load_interactions(str(path), Columns(user="who", item="what"))
    option = f"user=who,item=what,timestamp={name}"
    (remark,) = read.remarks
    assert remark == (
        f"no column of times is read, and {name!r} may be one: give --columns {shlex.quote(option)}"
    )
    for absent in ("sentiment", "add-on", "times_played"):
        other = write(tmp_path, "o.csv", f"who,what,{absent}\na,x,9\nb,y,8\n")
        assert load_interactions(str(other), Columns(user="who", item="what")).remarks == ()


def test_titles_are_no_column_of_ratings() -> None:
    with pytest.raises(
        ValueError, match=r"--columns title=name: titles are not read .* --titles F"
    ):
        parse_columns("title=name")


def test_nanoseconds_order_the_rows(tmp_path: Path) -> None:
    content = "user,item,time\n1,5,1600000000000000002\n1,6,1600000000000000001\n2,5,{0}\n"
    path = write(tmp_path, "r.csv", content.format(1_600_000_001_000_000_000))
    read = load_interactions(str(path))
    assert read.item_ids[read.items].tolist() == [6, 5, 5]


def test_numbers_may_be_dates(tmp_path: Path) -> None:
    rows = "user,item,date\n1,5,20200229\n1,6,20191231\n2,5,20200101\n"
    read = load_interactions(str(write(tmp_path, "r.csv", rows)))
    assert read.timestamps.tolist() == [1577750400, 1582934400, 1577836800]
    floats = rows.replace("31\n", "31.0\n").replace("29\n", "29.0\n").replace("01\n", "01.0\n")
    empty = floats + "2,6,\n"  # as pandas writes integers with a gap
    found = load_interactions(str(write(tmp_path, "r.csv", empty)), drop_empty=True)
    assert found.timestamps.tolist() == read.timestamps.tolist()
    mixed = load_interactions(str(write(tmp_path, "r.csv", rows.replace("20191231", "2019-12-31"))))
    assert mixed.timestamps.tolist() == read.timestamps.tolist()


@pytest.mark.parametrize("value", ["20200230", "0", "99999999", "1582934400"])
@pytest.mark.parametrize("end", ["", ".0"])
def test_what_is_no_date_among_dates_is_not_read_as_seconds(
    tmp_path: Path, value: str, end: str
) -> None:
    rows = "".join(f"{n % 2},{n},{day}{end}\n" for n, day in enumerate([20200229, value, 20200101]))
    path = write(tmp_path, "r.csv", f"user,item,date\n{rows}")
    with pytest.raises(ValueError, match=f"line 3: timestamp '{value}{end}' must be "):
        load_interactions(str(path))


# Other formats


@pytest.mark.parametrize("name", ["r.json", "r.jsonl.gz", "list.json", "mixed.ndjson"])
def test_json(tmp_path: Path, name: str) -> None:
    rows: list[dict[str, Any]] = [
        {"overall": float(r), "reviewerID": u, "text": 'a "b"\n,c', "asin": i, "unixReviewTime": t}
        for u, i, r, t in ROWS
    ]
    text = json.dumps(rows) if name == "list.json" else "\n".join(map(json.dumps, rows))
    if name == "mixed.ndjson":
        text = "\n".join(json.dumps(row | {"more": 1}) if row["overall"] > 2 else json.dumps(
            {key: row[key] for key in ("unixReviewTime", "asin", "reviewerID", "overall")}
        ) for row in rows) + "\n\n"  # fmt: skip
    content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    assert triples(load_interactions(str(write(tmp_path, name, content)))) == EXPECTED


def test_text_ids_of_json_stay_text(tmp_path: Path) -> None:
    text = "\n".join(json.dumps({"user": str(u), "item": i}) for u, i, _, _ in ROWS)
    assert load_interactions(str(write(tmp_path, "r.json", text))).user_ids[0] == "1000"


@pytest.mark.parametrize("is_list", [False, True])
def test_large_integers_of_json_stay_exact_beside_floats(tmp_path: Path, is_list: bool) -> None:
    rows = [
        {"user": 2**53 + 1, "item": 10**30, "time": 1_600_000_000_000_000_003},
        {"user": 2.0, "item": 5.0, "time": 1_600_000_001.5},
        {"user": 2, "item": 10**30, "time": 1_600_000_000},
    ]
    text = json.dumps(rows) if is_list else "\n".join(map(json.dumps, rows))
    read = load_interactions(str(write(tmp_path, "r.json", text)))
    assert read.user_ids.tolist() == ["2", str(2**53 + 1)]
    assert read.item_ids.tolist() == [str(10**30), "5"]
    assert read.timestamps.tolist() == [1_600_000_000, 1_600_000_001, 1_600_000_000]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"user": 1, "item": 2}\n{"user": 1,\n{"user": 2, "item": 2}\n', "line 2: not JSON"),
        ('{"user": 1, "item": 2}\n\n{"user": 1}\n{"user": 2, "item": 2}\n', "line 3: item None"),
        ("{'user': 1, 'item': 2}\n", "line 1: .* Python and not JSON: write it again with"),
        (
            '{"user": {"0": 1}, "item": {"0": 2}}\n',
            r"json, line 1: user 'user' holds a whole column; write one object a row, as to_json\(",
        ),
        (
            '{"user": 1, "item": 2}\n\n{"user": 1, "item": {"sku": 2}}\n{"user": 2, "item": 2}\n',
            r"line 3: item 'item' is nested, an object .* pandas.json_normalize.* item=item\.sku",
        ),
        (
            '[{"user": 1, "item": 2},\n{"user": 1, "item": [2, 3]}]\n',
            r"r.json, row 2: item 'item' is nested, a list .* DataFrame.explode\('item'\)",
        ),
        (
            '{"user": "a", "item": 2}\n{"user": "\\ud800", "item": 2}\n',
            r"line 2: user 'user' holds half a character \('\\ud800'\), .*; correct the value",
        ),
        (
            '{"user": 1, "item": 2}\n{"user": 1, "more": ' + "[" * 10**5 + "]" * 10**5 + "}\n\n",
            "json, line 2: objects or lists within each other, too many .*; flatten or remove",
        ),
        (
            '[{"user": 1, "more": ' + "[" * 10**5 + "]" * 10**5 + "}]",
            "json: objects or lists within each other, too many .*; flatten or remove the row",
        ),
        ('{"who": 1, "item": 2}\n', "line 1: no user column among 'who', 'item'; name it"),
        ('{"user": 1, "item": 2}\n[1, 2]\n', "line 2: not an object; correct or remove"),
    ],
)
def test_bad_json(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_interactions(str(write(tmp_path, "r.json", content)))


def test_a_folder_of_parquet_parts(tmp_path: Path) -> None:
    folder = tmp_path / "plays.parquet"
    folder.mkdir()
    for part in range(3):
        users, items, _, times = zip(*ROWS[part::3], strict=True)
        kind = pa.int32() if part == 1 else pa.int64()
        table = pa.table({"user_id": pa.array(users, kind), "item_id": items, "timestamp": times})
        pq.write_table(table, folder / f"part-0000{part}-0a1b.c000.snappy.parquet")
    write(folder, "_SUCCESS", "")
    write(folder, ".part-00000-0a1b.c000.snappy.parquet.crc", "x")
    read = load_interactions(str(folder))
    assert read.name == "plays"
    assert triples(read) == EXPECTED


def test_partitions_are_columns(tmp_path: Path) -> None:
    for day in ("2020-09-13", "2020-09-14"):
        folder = tmp_path / "plays" / f"date={day}" / "shop=a%20b"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"user": [1, 2], "item": [5, int(day[-1])]}), folder / "0.parquet")
    read = load_interactions(str(tmp_path / "plays"))
    assert triples(read) == {(1, 5, 1599955200), (2, 3, 1599955200), (2, 4, 1600041600)}
    shops = load_interactions(str(tmp_path / "plays"), parse_columns("timestamp=date,item=item"))
    assert "not read: 'shop'" in shops.columns_read


@pytest.mark.parametrize(("suffix", "header"), [(".csv", "user,item,rating,timestamp\n"), ("", "")])
def test_a_folder_of_parts_of_text(tmp_path: Path, suffix: str, header: str) -> None:
    body = PLAIN.splitlines(keepends=True)[1:]
    for part in range(3):
        content = header + "".join(body[part * 300 : part * 300 + 300])
        write(tmp_path, f"part-0000{part}{suffix}", content)
    write(tmp_path, "_SUCCESS", "")
    write(tmp_path, f"part-00004{suffix}", "")
    assert triples(load_interactions(str(tmp_path))) == EXPECTED
    write(tmp_path, f"part-00003{suffix}", header + "1,,3,1600000000\n")
    with pytest.raises(
        ValueError, match=rf"part-00003{suffix}, line {2 if header else 1}: item ''"
    ):
        load_interactions(str(tmp_path))
    write(tmp_path, f"part-00003{suffix}", "item,user\n1,2\n")
    with pytest.raises(ValueError, match="the files have different columns; give parts of one tab"):
        load_interactions(str(tmp_path))
    write(tmp_path, "README.md", "about")
    with pytest.raises(ValueError, match=r"a folder of README.md, part-00000.*, \.\.\.; give the"):
        load_interactions(str(tmp_path))


def test_a_broken_part_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user": [1, 2], "item": [5, 6]}), tmp_path / "a.parquet")
    write(tmp_path, "b.parquet", "PAR1")
    with pytest.raises(ValueError, match=r"b\.parquet: not a whole parquet file"):
        load_interactions(str(tmp_path))
    pq.write_table(pa.table({"user": [1, None], "item": [5, 6]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet, row 2: user None must not be empty"):
        load_interactions(str(tmp_path))
    pq.write_table(pa.table({"user": [1, 2]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet: no column .*item.*; give parts of one"):
        load_interactions(str(tmp_path))


def test_whole_floats_of_parquet_are_integers(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "rating", "timestamp"])
    frame.astype({"user": float}).to_parquet(tmp_path / "r.parquet")
    assert triples(load_interactions(str(tmp_path / "r.parquet"))) == EXPECTED


@pytest.mark.parametrize("kind", [pa.decimal128(20, 0), pa.binary(), pa.large_string()])
def test_ids_of_parquet_in_types_of_data_bases(tmp_path: Path, kind: pa.DataType) -> None:
    users: list[Any] = [row[0] for row in ROWS]
    if kind != pa.decimal128(20, 0):
        users = [str(user) for user in users]
    values = [user.encode() for user in users] if kind == pa.binary() else users
    table = pa.table({"user": pa.array(values, kind), "item": [row[1] for row in ROWS]})
    pq.write_table(table, tmp_path / "r.parquet")
    assert load_interactions(str(tmp_path / "r.parquet")).user_ids.tolist() == sorted(set(users))


def test_what_a_mac_puts_into_a_zip_does_not_count(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data/r.csv", PLAIN)
        archive.writestr("__MACOSX/data/._r.csv", b"\0\5\26\7")
        archive.writestr("data/.DS_Store", b"\0")
    assert triples(load_interactions(str(write(tmp_path, "r.zip", buffer.getvalue())))) == EXPECTED


def test_files_of_months_are_data_sets_of_their_own(tmp_path: Path) -> None:
    names = ["2024.01.csv", "2024.02.csv", "2024.03.csv.zip", "a%20b?.csv", "ml-1m.train.rating"]
    found = [name_of(tmp_path / name) for name in names]
    assert found == ["2024.01", "2024.02", "2024.03", "a_20b_", "ml-1m"]


def test_the_folder_one_is_in_has_the_name_of_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plays" / "more").mkdir(parents=True)
    write(tmp_path / "plays", "a.csv", PLAIN)
    monkeypatch.chdir(tmp_path / "plays")
    assert load_interactions(".").name == "plays"
    monkeypatch.chdir(tmp_path / "plays" / "more")
    assert name_of(Path("..")) == "plays"
    assert name_of(Path("/")) == "data"
