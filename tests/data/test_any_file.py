"""Whatever file a person gives: it is read as documented, or refused in one line that helps.

`pytest --hypothesis-profile long tests/test_any_file.py` tries some hundred times as many.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncf.data.datasets import load_interactions
from ncf.protocol.splitting import leave_one_out

# What a file may hold

BLANKS = "".join(filter(str.isspace, map(chr, range(2**16)))) + "\u200b\ufeff"
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=6
).filter(lambda text: text.strip(BLANKS) != "")
IDS = {
    "small": st.integers(0, 3).map(str),
    "any": st.integers(-(2**63), 2**63 - 1).map(str),
    "huge": st.integers(2**63, 2**70).map(str),  # beyond int64: text
    "zeros": st.sampled_from(["7", "07", "007", "-7", "8", "0", "-0"]),
    "floats": st.sampled_from(["7.0", "7", "8.00", "-9.0", "0", "0.0", "1e3", "007.0"]),
    "hex": st.sampled_from(["0x41a", "0X10", "1050", "+7", "9.06E+17", "1_000"]),
    "blanks": st.sampled_from(["7", " 7", "7\u00a0", "\t7 ", " a b ", "a b"]),
    "text": TEXT,
    "mixed": st.sampled_from(
        ["1", "2", "x", "Zoë", "東京", "NA", "1.0", "a b", 'q"', "a,b", "a\nb"]
    ),
}
SECONDS = st.integers(10**9, 10**9 + 5) | st.integers(2**28, 4_102_444_800 - 2**28)
TIMES: dict[str, Callable[[int], str]] = {
    "seconds": str,
    "floats": lambda second: f"{second}.0",
    "milliseconds": lambda second: str(1000 * (second + 2**28)),
    "dates": lambda second: datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "local dates": lambda second: datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S"),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[str], list[int] | None, str]:
    """Returns the ids of users and items, and the seconds and how they are written."""
    n_rows = draw(st.integers(1, 12))

    def column(values: st.SearchStrategy[str]) -> list[str]:
        some = draw(st.lists(values, min_size=1, max_size=8))
        return draw(st.lists(st.sampled_from(some), min_size=n_rows, max_size=n_rows))

    users, items = (column(IDS[draw(st.sampled_from(sorted(IDS)))]) for _ in range(2))
    kind = draw(st.sampled_from(["none", *TIMES]))
    if kind == "none":
        return users, items, None, kind
    return users, items, draw(st.lists(SECONDS, min_size=n_rows, max_size=n_rows)), kind


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, str, str, str, str, bool]:
    """Returns delimiter, newline, what is before, after and between rows, and whether to quote."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return (
        draw(st.sampled_from(",\t;")),
        newline,
        draw(st.sampled_from(["", "\ufeff", newline, "\ufeff" + newline])),
        draw(st.sampled_from(["", newline, 2 * newline])),
        draw(st.sampled_from(["", newline])),
        draw(st.booleans()),
    )


def own_ids(column: list[str]) -> list[int] | list[str]:
    """Returns ids as they are documented: integers if all print back or are whole, else text."""
    column = [one.strip(BLANKS) for one in column]
    if all(re.fullmatch(r"0|-?[1-9][0-9]*", one) for one in column):
        if all(-(2**63) <= int(one) < 2**63 for one in column):
            return [int(one) for one in column]
    elif all(re.fullmatch(r"(0|-?[1-9][0-9]{0,15})(\.0+)?", one) for one in column):
        return [int(float(one)) for one in column]
    return column


@given(tables(), layouts())
def test_a_good_file_is_read_and_split_as_documented(
    tmp_path_factory: pytest.TempPathFactory,
    table: tuple[list[str], list[str], list[int] | None, str],
    layout: tuple[str, str, str, str, str, bool],
) -> None:
    (users, items, seconds, kind), (delimiter, newline, before, after, between, quotes) = (
        table,
        layout,
    )

    # In files of tabs a quote is a plain character, unless the first row is quoted.
    is_tabs = delimiter == "\t"
    quotes |= is_tabs and any(re.search(r"[\t\n]", one) for one in [*users, *items])

    def field(text: str) -> str:
        must = not text.isprintable() or re.search(r'[",;\s:]', text) is not None
        if is_tabs and not quotes:
            return text
        return '"' + text.replace('"', '""') + '"' if quotes or must else text

    mark = '"' if quotes and is_tabs else ""
    columns = [
        [f"{mark}{name}{mark}", *map(field, ids)]
        for name, ids in (("user", users), ("item", items))
    ]
    if seconds is not None:
        columns.append([f"{mark}timestamp{mark}", *map(TIMES[kind], seconds)])
    lines = map(delimiter.join, zip(*columns, strict=True))
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes((before + (newline + between).join(lines) + after).encode())

    # rule 1 in plain Python
    known_users, known_items = own_ids(users), own_ids(items)
    histories: dict[object, list[object]] = {}
    times = range(len(users)) if seconds is None else seconds
    for row in sorted(range(len(users)), key=lambda row: times[row]):
        history = histories.setdefault(known_users[row], [])
        if known_items[row] not in history:
            history.append(known_items[row])
    if min(len(histories), len(set(known_items))) < 2:
        with pytest.raises(ValueError, match="at least 2 users and 2 items are needed, got"):
            load_interactions(str(path))
        return
    read = load_interactions(str(path))
    assert {
        user: read.item_ids[read.items[slice(*read.indptr[index : index + 2])]].tolist()
        for index, user in enumerate(read.user_ids.tolist())
    } == histories
    if max(map(len, histories.values())) < 3:
        with pytest.raises(ValueError, match="needs a user with at least 3 distinct items"):
            leave_one_out(read)
        return
    test = leave_one_out(read).test
    assert dict(
        zip(read.user_ids[test.users].tolist(), read.item_ids[test.items].tolist(), strict=True)
    ) == {user: history[-1] for user, history in histories.items() if len(history) >= 3}


# What it may hold beside that

PIECES = [
    *(b"\n", b"\r", b"\r\n", b",", b";", b"\t", b"::", b":", b'"', b'""', b" ", b"\\N", b"#", b"_"),
    *(b"\0", b"\xff", b"\x85", b"\x1a", b"\xef\xbb\xbf", "\u2028".encode(), "\uff11".encode()),
    *(b"nan", b"inf", b"-", b"+", b"1e400", b"0x10", b"9223372036854775808", b"978300760100"),
    *(b"2001-13-01", b"2001-01-01", b"NULL", b"true", b"user", b"item"),
]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}
CONTENTS = st.builds(
    lambda delimiter, header, rows: b"\n".join(
        delimiter.join(row) for row in ([[b"user", b"item", b"rating", b"time"]] * header + rows)
    ),
    st.sampled_from([b",", b"\t", b";", b"::"]),
    st.booleans(),
    st.lists(st.tuples(*[st.sampled_from([b"1", b"2", b"33", b"a"])] * 4), max_size=5),
)


def parquet(draw: st.DrawFn) -> bytes:
    n_rows = draw(st.integers(0, 4))
    kinds = {
        pa.int64(): 7, pa.uint64(): 2**64 - 1, pa.string(): "a", pa.large_string(): "",
        pa.bool_(): True, pa.float64(): float("nan"), pa.binary(): b"x", pa.date32(): 7,
        pa.timestamp("us"): 2**62, pa.list_(pa.int8()): [1], pa.decimal128(5, 2): 3,
        pa.null(): None,
    }  # fmt: skip
    columns = {}
    for name in draw(
        st.sampled_from([("user", "item", "rating", "time"), ("user", "item"), ("x",)])
    ):
        kind = draw(st.sampled_from(list(kinds)))
        values = draw(
            st.lists(st.sampled_from([kinds[kind], None]), min_size=n_rows, max_size=n_rows)
        )
        columns[name] = pa.array(values, kind)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """Returns a file's suffix and its content: a good one's, changed in some places."""
    suffix = draw(st.sampled_from([".csv", ".dat", ".txt", "", ".parquet", *COMPRESS]))
    content = parquet(draw) if suffix == ".parquet" else draw(CONTENTS)

    def changed(content: bytes, pieces: st.SearchStrategy[bytes]) -> bytes:
        for _ in range(draw(st.integers(0, 3))):
            start = draw(st.integers(0, len(content)))
            stop = draw(st.integers(start, min(len(content), start + 4)) | st.just(len(content)))
            content = content[:start] + draw(pieces) + content[stop:]
        return content

    if suffix != ".parquet":
        content = COMPRESS.get(suffix, bytes)(changed(content, st.sampled_from(PIECES)))
    if suffix in (*COMPRESS, ".parquet"):
        content = changed(content, st.binary(max_size=2))
    return suffix, content


@given(files())
def test_any_other_file_is_read_or_refused_in_a_line(
    tmp_path_factory: pytest.TempPathFactory, file: tuple[str, bytes]
) -> None:
    suffix, content = file
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    try:
        leave_one_out(load_interactions(str(path)))
    except ValueError as error:
        message = str(error)
        assert message.startswith((f"{path}, ", f"{path}: ", "any: ")), "the place"
        assert re.search(r"; |give more", message), "the remedy"
