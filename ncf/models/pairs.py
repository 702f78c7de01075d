"""Compiled counts over pairs of items, (I, I): which items users share, and which follow which.

Imported when a model is fitted, since numba takes a while to load.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.protocol.random import read_only
from ncf.protocol.splitting import History


def shared_users(history: History) -> NDArray[np.float64]:
    """Returns X^T X (I, I): how many users have both items, and on the diagonal the one."""
    counts = np.zeros((history.n_items, history.n_items))
    _count_shared(read_only(history.indptr), read_only(history.items), counts)
    return counts


def following(
    indptr: NDArray[np.int64], by_time: NDArray[np.int32], by_lag: NDArray[np.float32], n_items: int
) -> NDArray[np.float32]:
    """Returns C (I, I): C[j, i] is the sum of `by_lag[l - 1]` over each time that i is l after j.

    Args:
        indptr: (U + 1,) bounds of each user's items.
        by_time: (E,) items, each user's oldest first.
        by_lag: (L,) how much an item counts that comes l = 1 ... L after another.
        n_items: I.
    """
    counts = np.zeros((n_items, n_items), np.float32)
    _count_following(read_only(indptr), read_only(by_time), read_only(by_lag), counts)
    return counts


def without_own(inverse: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns B (I, I) of the lower triangle of P (I, I): P_ij / -P_jj, and 0 where i is j."""
    weights = np.zeros(inverse.shape, np.float32)
    _divide(inverse, weights)
    return weights


def add_windows(
    indptr: NDArray[np.int64],
    by_time: NDArray[np.int32],
    by_lag: NDArray[np.float64],
    factor: float,
    sums: NDArray[np.float64],
) -> None:
    """Adds factor Z^T Z to the upper triangle of `sums` (I, I).

    Each item that a user took after another is a row of Z (I columns), which has `by_lag[l - 1]`
    for the item l = 1 ... L before it.

    Args:
        indptr: (U + 1,) bounds of each user's items.
        by_time: (E,) items, each user's oldest first, none twice.
        by_lag: (L,) how much an item counts that comes l before another.
        factor: What the products are multiplied by.
        sums: What they are added to.
    """
    # Two items, d apart, are l and l + d before the rows that follow them, l = 1, 2, ...: what
    # the first n rows add is by_distance[d, n], so that a pair needs one step and not L.
    length = len(by_lag)
    by_distance = np.zeros((length, length + 1))
    for distance in range(length):
        products = by_lag[: length - distance] * by_lag[distance:]
        by_distance[distance, 1 : length - distance + 1] = np.cumsum(products)
        by_distance[distance, length - distance + 1 :] = products.sum()
    _add_windows(read_only(indptr), read_only(by_time), factor * by_distance, sums)


def less_own(inverse: NDArray[np.float64], product: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns B (I, I): Q_ij - P_ij Q_jj / P_jj, and 0 where i is j.

    Args:
        inverse: The lower triangle of P (I, I).
        product: Q (I, I).
    """
    weights = np.zeros(inverse.shape, np.float32)
    _subtract_own(inverse, product, weights)
    return weights


def compile_kernels() -> None:
    """Fills numba's cache on disk, which worker processes then load."""
    indptr, items = np.array([0, 1]), np.zeros(1, np.int32)
    shared_users(History(indptr, items, 1))
    following(indptr, items, np.ones(1, np.float32), 1)
    one = np.ones((1, 1), order="F")
    without_own(one)
    less_own(one, one)
    add_windows(indptr, items, np.ones(1), 1.0, np.ones((1, 1)))


@njit(cache=True)
def _count_shared(
    indptr: NDArray[np.int64], items: NDArray[np.int32], counts: NDArray[np.float64]
) -> None:
    for u in range(len(indptr) - 1):
        for p in range(indptr[u], indptr[u + 1]):
            for q in range(indptr[u], p + 1):
                counts[items[p], items[q]] += 1  # items ascend: the lower triangle
    for i in range(len(counts)):
        for j in range(i):
            counts[j, i] = counts[i, j]


@njit(cache=True)
def _count_following(
    indptr: NDArray[np.int64],
    by_time: NDArray[np.int32],
    by_lag: NDArray[np.float32],
    counts: NDArray[np.float32],
) -> None:
    for u in range(len(indptr) - 1):
        for p in range(indptr[u], indptr[u + 1]):
            for lag in range(1, min(len(by_lag), indptr[u + 1] - 1 - p) + 1):
                counts[by_time[p], by_time[p + lag]] += by_lag[lag - 1]


@njit(cache=True)
def _divide(inverse: NDArray[np.float64], weights: NDArray[np.float32]) -> None:
    for i in range(len(inverse)):
        for j in range(i):
            weights[i, j] = -inverse[i, j] / inverse[j, j]
            weights[j, i] = -inverse[i, j] / inverse[i, i]


@njit(cache=True)
def _add_windows(
    indptr: NDArray[np.int64],
    by_time: NDArray[np.int32],
    by_distance: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    length = len(by_distance)
    for u in range(len(indptr) - 1):
        for p in range(indptr[u], indptr[u + 1]):
            n_rows = min(indptr[u + 1] - 1 - p, length)
            for distance in range(min(length, p - indptr[u] + 1)):
                one, other = by_time[p], by_time[p - distance]
                sums[min(one, other), max(one, other)] += by_distance[distance, n_rows]


@njit(cache=True)
def _subtract_own(
    inverse: NDArray[np.float64], product: NDArray[np.float64], weights: NDArray[np.float32]
) -> None:
    n_items = len(inverse)
    own = np.empty(n_items)
    for j in range(n_items):
        own[j] = product[j, j] / inverse[j, j]
    for j in range(n_items):  # columns, as the arguments lie in the order of Fortran
        for i in range(n_items):
            if i != j:
                weights[i, j] = product[i, j] - inverse[max(i, j), min(i, j)] * own[j]
