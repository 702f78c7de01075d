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
from ncf.protocol.splitting import History


def draw_candidates(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    n_items: int,
    users: NDArray[np.int32],
    positives: NDArray[np.int32],
    n_negatives: int,
    seed: int,
    later: History | None = None,
) -> NDArray[np.int32]:
    """Draws evaluation candidates: a positive, then distinct items that its user never touched.

    A user with fewer than N untouched items gets all of them, and -1 fills the row.

    Args:
        indptr: (U + 1,) bounds of each user's row.
        items: (E,) items that the user touched, ascending and distinct within a row.
        n_items: Size of the catalogue.
        users: (V,) evaluated users.
        positives: (V,) their held-out items, never drawn, whether or not the row holds them.
        n_negatives: Draws per user, without replacement.
        seed: Any 64-bit integer; equal seeds give equal draws.
        later: Other items that the users touched, so that a long history and what is held out of
            it need not be put together; None where `items` are their *whole* history.

    Returns:
        (V, 1 + N) items, the positive in column 0.
    """
    if later is None:
        later = History(np.zeros(len(indptr), np.int64), np.empty(0, np.int32), n_items)
    candidates = np.full((len(users), 1 + n_negatives), -1, np.int32)
    candidates[:, 0] = positives
    _fill_candidates(
        read_only(indptr),
        read_only(items),
        read_only(later.indptr),
        read_only(later.items),
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
    later_indptr: NDArray[np.int64],
    later_items: NDArray[np.int32],
    n_items: int,
    users: NDArray[np.int32],
    state: np.uint64,
    candidates: NDArray[np.int32],
) -> None:
    drawn_for = np.full(n_items, -1, np.int64)  # of each rank, the last b that drew it
    excluded = np.empty(n_items + 1, np.int32)
    for b in range(len(users)):
        # the user's row, what came later and the positive, each item once and in their order
        positive, placed, n = candidates[b, 0], False, 0
        e, stop = indptr[users[b]], indptr[users[b] + 1]
        f, later_stop = later_indptr[users[b]], later_indptr[users[b] + 1]
        while e < stop or f < later_stop or not placed:
            item = n_items  # more than any
            if e < stop:
                item = items[e]
            if f < later_stop:
                item = min(item, later_items[f])
            if not placed:
                item = min(item, positive)
            if e < stop and items[e] == item:
                e += 1
            if f < later_stop and later_items[f] == item:
                f += 1
            placed = placed or positive == item
            excluded[n] = item
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
