"""The scores of a few candidates, of models that score every item at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 32 << 20  # of scores with every item, where only some are asked for


def among_all(
    score_all: Callable[[NDArray[np.integer[Any]]], NDArray[np.float32]],
    n_items: int,
    users: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
) -> NDArray[np.float32]:
    """Returns the scores (B, C) of users (B,) with items (B, C), some users at a time.

    Args:
        score_all: Returns the scores (B, I) of users (B,) with every item.
        n_items: I.
        users: The users.
        items: The items of each user.
    """
    scores = np.empty(items.shape, np.float32)
    block = max(1, BLOCK_BYTES // (4 * n_items))
    for start in range(0, len(users), block):
        rows = slice(start, start + block)
        scores[rows] = np.take_along_axis(score_all(users[rows]), items[rows], axis=1)
    return scores
