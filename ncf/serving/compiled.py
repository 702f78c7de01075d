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


def compile_kernel() -> None:
    """Fills numba's cache on disk, which worker processes then load."""
    ones = np.ones((1, 4), np.float32)
    candidate_scores(ones, ones, np.zeros(1, np.float32), np.zeros((1, 1), np.int32))


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
