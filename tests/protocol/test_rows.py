"""Compiled rows against Python's lists."""

from __future__ import annotations

import doctest
from itertools import chain

import numpy as np
import pytest

from ncf.protocol import rows
from ncf.protocol.rows import ascending, bounds_of, counts_of, grouped, joined


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_those_of_lists(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_rows, n = 9, 40
    of_row = rng.integers(0, n_rows - 1, n).astype(np.int32)  # the last row is empty
    values = rng.permutation(n).astype(np.int32)
    lists: list[list[int]] = [[] for _ in range(n_rows)]
    for row, value in zip(of_row.tolist(), values.tolist(), strict=True):
        lists[row].append(value)

    assert counts_of(of_row, n_rows).tolist() == [len(row) for row in lists]
    indptr = bounds_of(of_row, n_rows)
    assert np.diff(indptr).tolist() == [len(row) for row in lists]
    found = grouped(of_row, values, indptr)
    assert found.tolist() == [*chain(*lists)]
    assert ascending(indptr, found).tolist() == [*chain(*map(sorted, lists))]
    assert found.tolist() == [*chain(*lists)]  # `ascending` sorts a copy
    twice = joined(indptr, found, indptr, found)
    assert twice.tolist() == [*chain(*(row + row for row in lists))]


def test_examples_in_the_docstrings() -> None:
    results = doctest.testmod(rows, extraglobs={"np": np})
    assert results.attempted > 0
    assert results.failed == 0
