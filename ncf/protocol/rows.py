"""Compiled work on rows that follow each other in one array, such as the items of each user.

Row r is `values[indptr[r]:indptr[r + 1]]`. Nothing here takes more memory than what it returns, for
any number of rows.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.protocol.random import read_only


def counts_of(values: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Returns how often each number below n occurs, (n,); `np.bincount` widens the values first.

    >>> counts_of(np.int32([0, 2, 2]), n=3)
    array([1, 0, 2])
    """
    counts = np.zeros(n, np.int64)
    _count(read_only(values), counts)
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
    _group(read_only(rows), read_only(values), indptr[:-1].copy(), found)
    return found


def ascending(indptr: NDArray[np.int64], values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Returns the values (E,) with each row in ascending order.

    >>> ascending(np.array([0, 3, 4]), np.int32([5, 1, 3, 0]))
    array([1, 3, 5, 0], dtype=int32)
    """
    found = np.array(values, np.int32)  # a copy, of which each row is then sorted in its place
    _sort_rows(read_only(indptr), found)
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
    found = np.empty(len(first_values) + len(second_values), np.int32)
    _join(
        read_only(first),
        read_only(first_values),
        read_only(second),
        read_only(second_values),
        found,
    )
    return found


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
    found = np.empty(len(rows), np.int64)
    _find(read_only(indptr), read_only(values), read_only(rows), read_only(wanted), found)
    return found


@njit(cache=True)
def _count(values: NDArray[np.int32], counts: NDArray[np.int64]) -> None:
    for value in values:
        counts[value] += 1


@njit(cache=True)
def _group(
    rows: NDArray[np.int32],
    values: NDArray[np.int32],
    place: NDArray[np.int64],
    found: NDArray[np.int32],
) -> None:
    for e in range(len(rows)):
        row = rows[e]
        found[place[row]] = values[e]
        place[row] += 1


@njit(cache=True)
def _sort_rows(indptr: NDArray[np.int64], values: NDArray[np.int32]) -> None:
    for row in range(len(indptr) - 1):
        values[indptr[row] : indptr[row + 1]].sort()


@njit(cache=True)
def _join(
    first: NDArray[np.int64],
    first_values: NDArray[np.int32],
    second: NDArray[np.int64],
    second_values: NDArray[np.int32],
    found: NDArray[np.int32],
) -> None:
    place = 0
    for row in range(len(first) - 1):
        for e in range(first[row], first[row + 1]):
            found[place] = first_values[e]
            place += 1
        for e in range(second[row], second[row + 1]):
            found[place] = second_values[e]
            place += 1


@njit(cache=True)
def _find(
    indptr: NDArray[np.int64],
    values: NDArray[np.int32],
    rows: NDArray[np.int32],
    wanted: NDArray[np.int32],
    found: NDArray[np.int64],
) -> None:
    for n in range(len(rows)):
        place = indptr[rows[n] + 1] - 1
        while place > indptr[rows[n]] and values[place] != wanted[n]:
            place -= 1
        found[n] = place
