"""The items that a held-out item is ranked among: drawn once per study, the same for every model.

They are distinct and uniform over the items that the user never touched. A user's row of a
history holds n distinct items in ascending order; an exact draw from the other I - n takes r from
[0, I - n) and then the untouched item of that rank, r + k, where k counts the touched items below
it: k = #{j : row[j] - j <= r}. As row[j] - j never falls, k is a binary search.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.protocol.random import GOLDEN, random_below, read_only, splitmix_state


def draw_candidates(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    n_items: int,
    users: NDArray[np.int32],
    positives: NDArray[np.int32],
    n_negatives: int,
    seed: int,
) -> NDArray[np.int32]:
    """Draws evaluation candidates: a positive, then distinct items that its user never touched.

    A user with fewer than N untouched items gets all of them, and -1 fills the row.

    Args:
        indptr: (U + 1,) bounds of each user's row.
        items: (E,) items of the user's *whole* history, ascending and distinct within a row.
        n_items: Size of the catalogue.
        users: (V,) evaluated users.
        positives: (V,) their held-out items, never drawn, whether or not the row holds them.
        n_negatives: Draws per user, without replacement.
        seed: Any 64-bit integer; equal seeds give equal draws.

    Returns:
        (V, 1 + N) items, the positive in column 0.
    """
    candidates = np.full((len(users), 1 + n_negatives), -1, np.int32)
    candidates[:, 0] = positives
    _fill_candidates(
        read_only(indptr),
        read_only(items),
        n_items,
        read_only(users),
        splitmix_state(seed),
        candidates,
    )
    return candidates


@njit(cache=True)
def n_touched_below(row: NDArray[np.int32], rank: int) -> int:
    """Touched items below the untouched item of this rank: #{j : row[j] - j <= rank}."""
    start, stop = 0, len(row)
    while start < stop:
        middle = (start + stop) >> 1
        if row[middle] - middle <= rank:
            start = middle + 1
        else:
            stop = middle
    return start


@njit(cache=True)
def _fill_candidates(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    n_items: int,
    users: NDArray[np.int32],
    state: np.uint64,
    candidates: NDArray[np.int32],
) -> None:
    drawn_for = np.full(n_items, -1, np.int64)  # of each rank, the last b that drew it
    excluded = np.empty(n_items + 1, np.int32)
    for b in range(len(users)):
        # the user's row with the positive in its place
        positive, placed, n = candidates[b, 0], False, 0
        for e in range(indptr[users[b]], indptr[users[b] + 1]):
            if not placed and items[e] >= positive:
                placed = True
                if items[e] > positive:
                    excluded[n] = positive
                    n += 1
            excluded[n] = items[e]
            n += 1
        if not placed:
            excluded[n] = positive
            n += 1
        # Floyd's algorithm: a uniform set of n_drawn ranks below n_free, in n_drawn draws
        n_free = n_items - n
        n_drawn = min(candidates.shape[1] - 1, n_free)
        for d in range(n_drawn):
            last = n_free - n_drawn + d
            state += GOLDEN
            rank = random_below(state, last + 1)
            if drawn_for[rank] == b:
                rank = last
            drawn_for[rank] = b
            candidates[b, 1 + d] = rank + n_touched_below(excluded[:n], rank)
