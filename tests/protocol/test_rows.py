"""Rows against Python's lists."""

from __future__ import annotations

import doctest
from itertools import chain
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ncf.protocol import rows
from ncf.protocol.rows import ascending, bounds_of, counts_of, grouped, joined, places_in


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
@pytest.mark.parametrize(("n_rows", "n"), [(0, 0), (1, 0), (1, 40), (9, 40), (40, 9)])
def test_rows_are_those_of_lists(
    n_rows: int, n: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "BLOCK", block)
    rng = np.random.default_rng(n)
    of_row = rng.integers(0, max(1, n_rows - 1), n).astype(np.int32)  # the last of several is empty
    values = rng.permutation(n).astype(np.int32)
    lists = in_lists(of_row, values, n_rows)

    assert counts_of(of_row, n_rows).tolist() == [len(row) for row in lists]
    indptr = bounds_of(of_row, n_rows)
    assert np.diff(indptr).tolist() == [len(row) for row in lists]
    found = grouped(of_row, values, indptr)
    assert found.tolist() == [*chain(*lists)]
    assert ascending(indptr, found).tolist() == [*chain(*map(sorted, lists))]
    assert found.tolist() == [*chain(*lists)]  # `ascending` sorts a copy
    assert {one.dtype for one in (found, ascending(indptr, found))} == {np.dtype(np.int32)}


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_joined_and_looked_through_as_lists_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_rows = 9
    first, second = (
        in_lists(rng.integers(0, n_rows, n), rng.integers(0, 5, n), n_rows) for n in (40, 12)
    )
    (first_bounds, first_values), (second_bounds, second_values) = map(in_arrays, (first, second))
    both = [one + other for one, other in zip(first, second, strict=True)]
    bounds, values = in_arrays(both)
    found = joined(first_bounds, first_values, second_bounds, second_values)
    assert found.tolist() == values.tolist()
    assert found.dtype == np.int32

    asked = [(row, value) for row, one in enumerate(both) for value in one][::-1]
    of_rows, wanted = np.array(asked, np.int32).T
    places = places_in(bounds, values, of_rows, wanted)
    for (row, value), place in zip(asked, places.tolist(), strict=True):
        last = max(at for at, one in enumerate(both[row]) if one == value)
        assert place == bounds[row] + last


def in_lists(of_row: NDArray[Any], values: NDArray[Any], n_rows: int) -> list[list[int]]:
    lists: list[list[int]] = [[] for _ in range(n_rows)]
    for row, value in zip(of_row.tolist(), values.tolist(), strict=True):
        lists[row].append(value)
    return lists


def in_arrays(lists: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    return np.cumsum([0, *map(len, lists)]), np.array([*chain(*lists)], np.int32)


def test_examples_in_the_docstrings() -> None:
    results = doctest.testmod(rows, extraglobs={"np": np})
    assert results.attempted > 0
    assert results.failed == 0
