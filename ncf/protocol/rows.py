"""Work on rows that follow each other in one array, such as the items of each user.

Row r is `values[indptr[r]:indptr[r + 1]]`. What is as long as the values is done block by block, so
that hardly more memory is taken than what is returned.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 16  # values; as 64-bit integers they stay in the processor's cache


def counts_of(values: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Returns how often each number below n occurs, (n,).

    >>> counts_of(np.int32([0, 2, 2]), n=3)
    array([1, 0, 2])
    """
    counts = np.zeros(n, np.int64)
    for block in _blocks(len(values), n):
        counts += np.bincount(values[block], minlength=n)
    return counts


def bounds_of(rows: NDArray[np.int32], n_rows: int) -> NDArray[np.int64]:
    """Returns the bounds (R + 1,) of rows, given the row of each value.

    >>> bounds_of(np.int32([0, 2, 2]), n_rows=3)
    array([0, 1, 1, 3])
    """
    indptr = np.zeros(n_rows + 1, np.int64)
    np.cumsum(counts_of(rows, n_rows), out=indptr[1:])
    return indptr


def grouped(
    rows: NDArray[np.int32], values: NDArray[np.int32], indptr: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Returns values (E,) row by row, those of a row in the order in which they are given.

    Args:
        rows: (E,) the row of each value, in any order.
        values: (E,).
        indptr: The `bounds_of` the rows.
    """
    found = np.empty(len(values), np.int32)
    places = indptr[:-1].copy()  # of the next value of each row
    for block in _blocks(len(values), len(places)):
        order = np.argsort(rows[block], kind="stable")
        of_row = rows[block][order]
        counts = np.bincount(of_row, minlength=len(places))
        # values of one row now follow each other, and so do their places
        offsets = places - (np.cumsum(counts) - counts)
        found[offsets[of_row] + np.arange(len(order))] = values[block][order]
        places += counts
    return found


def ascending(indptr: NDArray[np.int64], values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Returns the values (E,) with each row in ascending order.

    >>> ascending(np.array([0, 3, 4]), np.int32([5, 1, 3, 0]))
    array([1, 3, 5, 0], dtype=int32)
    """
    found = np.empty(len(values), np.int32)
    # whole rows, of about a block of values or of one row that is longer
    firsts = np.unique(np.searchsorted(indptr, np.arange(0, len(values), BLOCK), "right") - 1)
    for first, stop in pairwise([*firsts.tolist(), len(indptr) - 1]):
        block = slice(indptr[first], indptr[stop])
        lengths = np.diff(indptr[first : stop + 1])
        keys = np.repeat(np.arange(stop - first) << 32, lengths)
        keys += values[block]
        keys.sort()
        found[block] = keys.astype(np.int32)  # which keeps the lower half
    return found


def joined(
    first: NDArray[np.int64],
    first_values: NDArray[np.int32],
    second: NDArray[np.int64],
    second_values: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Returns the values of two sets of rows, each second row after the first one of its number.

    Args:
        first: (R + 1,) bounds of the first rows.
        first_values: Their values.
        second: (R + 1,) bounds of the second rows.
        second_values: Their values.

    Returns:
        The values, of which the bounds are the sum of both bounds.
    """
    ends = np.repeat(first[1:], np.diff(second))  # where each second value's first row ends
    return np.insert(first_values, ends, second_values)


def places_in(
    indptr: NDArray[np.int64],
    values: NDArray[np.int32],
    rows: NDArray[np.int32],
    wanted: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Returns the last place in `values` at which each row has the wanted value, (N,).

    Args:
        indptr: (R + 1,) bounds of the rows.
        values: (E,).
        rows: (N,) the rows that are looked through.
        wanted: (N,) a value of each of them, which must be there.

    >>> places_in(np.array([0, 2, 4]), np.int32([8, 9, 7, 8]), np.int32([1, 0]), np.int32([8, 9]))
    array([3, 1])
    """
    places = indptr[rows + 1] - 1
    missed = np.arange(len(rows))
    while len(missed := missed[values[places[missed]] != wanted[missed]]):
        places[missed] -= 1  # one step back in all rows that have not shown it yet
    return places


def _blocks(n_values: int, n_rows: int) -> Iterator[slice]:
    """Yields slices of the values, none shorter than the counts of all rows that each costs."""
    size = max(BLOCK, n_rows)
    for start in range(0, n_values, size):
        yield slice(start, start + size)
