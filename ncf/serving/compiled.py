"""Compiled parts of serving: scores of a few candidates, and the best of all items, for many users.

Imported inside functions only, since numba takes a while to load and a server does without it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


def candidate_scores(
    user_factors: NDArray[np.float32],
    item_factors: NDArray[np.float32],
    item_bias: NDArray[np.float32],
    items: NDArray[np.integer[Any]],
) -> NDArray[np.float32]:
    """Returns the dot products, plus the item's bias, of each user with their items.

    Args:
        user_factors: (B, D).
        item_factors: (I, D).
        item_bias: (I,).
        items: (B, C) items of each user; each must be in [0, I).

    Returns:
        (B, C) scores.
    """
    scores = np.empty(items.shape, np.float32)
    _fill_scores(
        _read_only(user_factors),
        _read_only(item_factors),
        _read_only(item_bias),
        _read_only(items.astype(np.int32, copy=False)),
        scores,
    )
    return scores


def history_scores(
    indptr: NDArray[np.integer[Any]],
    history_items: NDArray[np.integer[Any]],
    place_values: NDArray[np.float32],
    weights: NDArray[np.float32],
    users: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
) -> NDArray[np.float32]:
    """Returns the sums over each user's history of value times weight, for each of their items.

    Args:
        indptr: (U + 1,) bounds of each user's history.
        history_items: (E,) the items of the histories, each user's oldest first.
        place_values: (L,) how much the a-th latest counts; those beyond L do not.
        weights: (I, I) what an item of the history adds to each item.
        users: (B,) users.
        items: (B, C) items of each of them; each must be in [0, I).

    Returns:
        (B, C) scores.
    """
    scores = np.zeros(items.shape, np.float32)
    _add_history(
        _read_only(indptr.astype(np.int64, copy=False)),
        _read_only(history_items.astype(np.int32, copy=False)),
        _read_only(place_values),
        _read_only(weights),
        _read_only(users.astype(np.int32, copy=False)),
        _read_only(items.astype(np.int32, copy=False)),
        scores,
    )
    return scores


def sparse_history_scores(
    indptr: NDArray[np.integer[Any]],
    history_items: NDArray[np.integer[Any]],
    place_values: NDArray[np.float32],
    weight_indptr: NDArray[np.integer[Any]],
    weight_items: NDArray[np.integer[Any]],
    weight_values: NDArray[np.float32],
    users: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
) -> NDArray[np.float32]:
    """Returns what `history_scores` does, of weights (I, I) that are compressed sparse rows."""
    scores = np.empty(items.shape, np.float32)
    _fill_sparse(
        _read_only(indptr.astype(np.int64, copy=False)),
        _read_only(history_items.astype(np.int32, copy=False)),
        _read_only(place_values),
        _read_only(weight_indptr.astype(np.int64, copy=False)),
        _read_only(weight_items.astype(np.int32, copy=False)),
        _read_only(weight_values),
        _read_only(users.astype(np.int32, copy=False)),
        _read_only(items.astype(np.int32, copy=False)),
        scores,
    )
    return scores


def compile_kernel() -> None:
    """Fills numba's cache on disk, which worker processes then load."""
    one, ones = np.zeros(1, np.int32), np.ones((1, 4), np.float32)
    candidate_scores(ones, ones, np.zeros(1, np.float32), one[None])
    bounds, value = np.array([0, 1]), ones[0, :1]
    history_scores(bounds, one, value, ones[:, :1], one, one[None])
    sparse_history_scores(bounds, one, value, bounds, one, value, one, one[None])


def _read_only(array: NDArray[T]) -> NDArray[T]:
    """Returns a view of the one type that the kernel is compiled for (`ncf.protocol.random`)."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _fill_scores(
    user_factors: NDArray[np.float32],
    item_factors: NDArray[np.float32],
    item_bias: NDArray[np.float32],
    items: NDArray[np.int32],
    scores: NDArray[np.float32],
) -> None:
    for b in range(items.shape[0]):
        for c in range(items.shape[1]):
            i = items[b, c]
            score = item_bias[i]
            for d in range(user_factors.shape[1]):
                score += user_factors[b, d] * item_factors[i, d]
            scores[b, c] = score


@njit(cache=True)
def _add_history(
    indptr: NDArray[np.int64],
    history_items: NDArray[np.int32],
    place_values: NDArray[np.float32],
    weights: NDArray[np.float32],
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    scores: NDArray[np.float32],
) -> None:
    for b in range(items.shape[0]):
        start, stop = indptr[users[b]], indptr[users[b] + 1]
        for position in range(max(start, stop - len(place_values)), stop):
            value = place_values[stop - 1 - position]
            row = weights[history_items[position]]
            for c in range(items.shape[1]):
                scores[b, c] += value * row[items[b, c]]


@njit(cache=True)
def _fill_sparse(
    indptr: NDArray[np.int64],
    history_items: NDArray[np.int32],
    place_values: NDArray[np.float32],
    weight_indptr: NDArray[np.int64],
    weight_items: NDArray[np.int32],
    weight_values: NDArray[np.float32],
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    scores: NDArray[np.float32],
) -> None:
    sums = np.empty(len(weight_indptr) - 1, np.float32)  # of one user, with every item
    for b in range(items.shape[0]):
        sums[:] = 0
        start, stop = indptr[users[b]], indptr[users[b] + 1]
        for position in range(max(start, stop - len(place_values)), stop):
            value, item = place_values[stop - 1 - position], history_items[position]
            for entry in range(weight_indptr[item], weight_indptr[item + 1]):
                sums[weight_items[entry]] += value * weight_values[entry]
        for c in range(items.shape[1]):
            scores[b, c] = sums[items[b, c]]


@njit(cache=True, parallel=True)
def keep_best(
    scores: NDArray[np.float32],
    indptr: NDArray[np.int64],
    left_out: NDArray[np.int32],
    items: NDArray[np.int32],
    best: NDArray[np.float32],
) -> None:
    """Fills in each user's best items and their scores, best first, of equals the first.

    Args:
        scores: (B, I); overwritten where an item is left out.
        indptr: (B + 1,) bounds of each user's items in `left_out`.
        left_out: Items that are not listed.
        items: (B, k), -1 to begin with, which stays where there are fewer items.
        best: (B, k), -inf to begin with.
    """
    k = items.shape[1]
    for b in prange(scores.shape[0]):
        for position in range(indptr[b], indptr[b + 1]):
            scores[b, left_out[position]] = -np.inf
        for i in range(scores.shape[1]):
            if scores[b, i] > best[b, k - 1]:  # not of equals, nor of NaN: the first item stays
                place = k - 1
                while place > 0 and scores[b, i] > best[b, place - 1]:
                    best[b, place], items[b, place] = best[b, place - 1], items[b, place - 1]
                    place -= 1
                best[b, place], items[b, place] = scores[b, i], i
