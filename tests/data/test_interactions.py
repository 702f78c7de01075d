"""Tests of `interactions.py`: orders worked by hand, a plain Python oracle."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ncf.data.interactions import Interactions, from_columns

Row = tuple[int, int, int]


def build(rows: list[Row]) -> Interactions:
    users, items, times = np.array(rows, dtype=np.int64).T
    return from_columns("rows", users, items, times)


def plain_python(rows: list[Row]) -> dict[int, list[tuple[int, int]]]:
    """Each user's (item, time) in order, written as the module docstring reads."""
    expected: dict[int, list[tuple[int, int]]] = {}
    for user in sorted({row[0] for row in rows}):
        seen: dict[int, int] = {}
        for _, item, time in sorted((r for r in rows if r[0] == user), key=lambda row: row[2]):
            seen.setdefault(item, time)
        expected[user] = list(seen.items())
    return expected


def as_dict(interactions: Interactions) -> dict[Any, list[tuple[Any, int]]]:
    return {
        user_id: [
            (interactions.item_ids[interactions.items[e]].item(), int(interactions.timestamps[e]))
            for e in range(interactions.indptr[user], interactions.indptr[user + 1])
        ]
        for user, user_id in enumerate(interactions.user_ids.tolist())
    }


def test_order_by_hand() -> None:
    interactions = build([(9, 70, 5), (2, 50, 8), (9, 50, 3), (2, 90, 8), (2, 70, 1), (9, 90, 3)])
    assert interactions.user_ids.tolist() == [2, 9]
    assert interactions.item_ids.tolist() == [50, 70, 90]
    assert interactions.indptr.tolist() == [0, 3, 6]
    # User 2: 70 at 1, then 50 and 90, both at 8, as in the file. User 9: 50 and 90 at 3, 70 at 5.
    assert interactions.items.tolist() == [1, 0, 2, 0, 2, 1]
    assert interactions.timestamps.tolist() == [1, 8, 8, 3, 3, 5]


def test_a_repeated_pair_counts_once_at_its_first_time() -> None:
    interactions = build([(1, 5, 30), (1, 6, 20), (1, 5, 10), (1, 5, 10), (2, 6, 0)])
    assert as_dict(interactions) == {1: [(5, 10), (6, 20)], 2: [(6, 0)]}


def test_without_timestamps_the_row_numbers_are_the_times() -> None:
    interactions = from_columns("plays", np.array([2, 1, 2, 2]), np.array([7, 8, 8, 7]))
    assert as_dict(interactions) == {1: [(8, 1)], 2: [(7, 0), (8, 2)]}


@pytest.mark.parametrize("kind", [str, object, "category"])
def test_text_ids_are_ordered_as_text(kind: Any) -> None:
    users: Any = ["b", "a", "ü", "b"]
    items: Any = ["10", "9", "10", "x y"]
    if kind == "category":
        users = pd.Categorical(users, categories=["ü", "unused", "b", "a"])
        items = pd.Categorical(items, categories=["x y", "9", "10"])
    else:
        users, items = np.array(users, dtype=kind), np.array(items, dtype=kind)
    interactions = from_columns("t", users, items, titles={"9": "Nine"})
    assert interactions.user_ids.tolist() == ["a", "b", "ü"]
    assert interactions.item_ids.tolist() == ["10", "9", "x y"]
    assert interactions.items.tolist() == [1, 0, 2, 0]
    assert interactions.titles is not None
    assert interactions.titles.tolist() == ["", "Nine", ""]


rows_strategy = st.lists(
    st.tuples(
        st.sampled_from([-3, 0, 1, 2, 2**40]),
        st.integers(-5, 5),
        st.sampled_from([0, 1, 2**32 - 1]),
    ),
    max_size=40,
).map(lambda rows: [*rows, (0, 100, 7), (1, 101, 7)])


@settings(max_examples=60, deadline=None)
@given(rows_strategy)
def test_equals_plain_python(rows: list[Row]) -> None:
    assert as_dict(build(rows)) == plain_python(rows)


def test_many_rows_equal_pandas() -> None:
    # Enough rows that the search for repeated pairs runs over several pieces.
    generator = np.random.default_rng(3)
    users = generator.integers(0, 3000, 700_000).astype(np.int32)
    items = generator.integers(0, 900, 700_000).astype(np.int64)
    times = generator.integers(0, 50, 700_000)
    frame = pd.DataFrame({"user": users, "item": items, "time": times})
    frame = frame.sort_values(["user", "time"], kind="stable").drop_duplicates(["user", "item"])
    interactions = from_columns("many", users, items, times)
    np.testing.assert_array_equal(interactions.items, frame["item"])
    np.testing.assert_array_equal(interactions.timestamps, frame["time"])
    np.testing.assert_array_equal(np.diff(interactions.indptr), np.bincount(frame["user"]))


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(12)))
def test_row_order_does_not_matter_where_times_differ(order: list[int]) -> None:
    rows = [(row % 3, row % 4 * row % 5, 100 - row) for row in range(12)]
    assert build([rows[row] for row in order]).fingerprint == build(rows).fingerprint


def test_the_fingerprint_tells_data_apart_but_not_names_and_titles() -> None:
    rows = [(1, 5, 10), (1, 6, 20), (2, 6, 0)]
    interactions = build(rows)
    titled = dataclasses.replace(interactions, name="other", titles=np.array(["a", "b"]))
    assert titled.fingerprint == interactions.fingerprint
    others = [
        build([(1, 5, 10), (1, 6, 21), (2, 6, 0)]),
        build([(1, 5, 10), (1, 7, 20), (2, 7, 0)]),
        build([(1, 5, 10), (1, 6, 20), (3, 6, 0)]),
        build([(1, 5, 10), (1, 6, 20), (2, 5, 0)]),
        dataclasses.replace(interactions, user_ids=np.array(["1", "2"])),
        dataclasses.replace(interactions, user_ids=np.array(["12", "2"])),
        dataclasses.replace(interactions, user_ids=np.array(["1", "22"])),
    ]
    fingerprints = {interactions.fingerprint, *(other.fingerprint for other in others)}
    assert len(fingerprints) == 1 + len(others)


def test_the_fingerprint_of_text_ignores_numpys_padding() -> None:
    interactions = build([(1, 5, 10), (1, 6, 20), (2, 6, 0)])
    narrow = dataclasses.replace(interactions, user_ids=np.array(["a", "b"]))
    wide = dataclasses.replace(interactions, user_ids=np.array(["a", "b"], dtype="U40"))
    assert narrow.fingerprint == wide.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": np.array([0, 1, 2], dtype=np.int32)}, "items must be in 0 to 1, got 0 to 2"),
        ({"items": np.array([0, 1, -1], dtype=np.int32)}, "items must be in 0 to 1, got -1 to 1"),
        ({"items": np.array([0, 1, 1])}, "items must be one-dimensional int32, got int64"),
        ({"timestamps": np.array([1, 2])}, "timestamps must have a length of 3, got 2"),
        ({"indptr": np.array([0, 3])}, "indptr must have a length of 3, got 2"),
        ({"indptr": np.array([0, 3, 3])}, "indptr must rise from 0 to 3"),
        ({"indptr": np.array([0, 2, 4])}, "indptr must rise from 0 to 3, by at least 1 per user"),
        ({"user_ids": np.array([2, 1])}, "user_ids must be ascending"),
        ({"item_ids": np.array([1.0, 2.0])}, "item_ids must be one-dimensional int64 or text"),
        ({"titles": np.array(["a"])}, r"titles must be text of shape \(2,\), got <U1"),
        ({"user_ids": np.array([1])}, "at least 2 users and 2 items are needed, got 1 and 2; give"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^rows: {message}"):
        dataclasses.replace(build([(1, 5, 10), (1, 6, 20), (2, 6, 0)]), **change)


@pytest.mark.parametrize(
    ("users", "items", "times", "message"),
    [
        ([1, 2], [1], None, "t: columns must be of equal length, got 2 users, 1 items"),
        ([], [], None, "t: 1 to 2147483647 interactions are possible, got 0"),
        ([1, 2], [1, 2], [0, -1], "t: timestamps must be seconds in 0 to 4294967295, got -1 to 0"),
        ([1, 2], [1, 2], [0, 2**32], "t: timestamps must be seconds in 0 to 4294967295"),
        ([1, 1], [1, 2], None, "t: at least 2 users and 2 items are needed, got 1 and 2"),
        (["a", None], [1, 2], None, "own ids must not be missing, got none in row 1"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    users: list[Any], items: list[int], times: list[int] | None, message: str
) -> None:
    timestamps: NDArray[np.int64] | None = None if times is None else np.array(times)
    with pytest.raises(ValueError, match=f"^{message}"):
        from_columns("t", np.array(users), np.array(items), timestamps)
