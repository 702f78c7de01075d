"""Scores of a few candidates for many users, compiled: rows are read in place, not gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.protocol.sampling import read_only


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
        read_only(user_factors),
        read_only(item_factors),
        read_only(item_bias),
        read_only(items.astype(np.int32, copy=False)),
        scores,
    )
    return scores


def compile_kernel() -> None:
    """Fills numba's cache on disk, as `ncf.models.gmf.sgd.compile_kernels` does."""
    ones = np.ones((1, 4), np.float32)
    candidate_scores(ones, ones, np.zeros(1, np.float32), np.zeros((1, 1), np.int32))


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
