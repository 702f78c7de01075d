"""Which positives an epoch visits: each item of a user once, or the latest ones more often.

What a person takes next resembles what they took last. With a recency of g, an epoch still visits
n positives of a user who has n items, but the a-th latest of them, a = 1 ... n, in proportion to

    a^-g

by systematic sampling (Madow & Madow, Ann. Math. Stat. 1944): with C(a) = sum_(b <= a) b^-g and a
uniform shift s in [0, 1), one for each user and epoch, visit k = 0 ... n - 1 is to the a for which
C(a - 1) <= (k + s) C(n) / n < C(a). An item is thus visited as often as is expected of it, rounded
up or down, and with g = 0 exactly once.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.protocol.random import GOLDEN, random_below, read_only, splitmix_state
from ncf.protocol.splitting import History


def draw_positives(history: History, recency: float, seed: int) -> NDArray[np.int32]:
    """Returns an epoch's positive items, (E,): entry e is for the user `history.user_of[e]`.

    Args:
        history: The training interactions.
        recency: g of the module's formula; 0 visits each item once.
        seed: Any 64-bit integer; equal seeds give equal draws.

    Raises:
        ValueError: As `items_by_time`.
    """
    if recency == 0:
        return history.items
    return _visits(history, items_by_time(history), recency, seed)


def draw_positions(history: History, recency: float, seed: int) -> NDArray[np.int32]:
    """Returns the same visits as places in the user's items by time, 0 for the oldest, (E,)."""
    if recency > 0:
        return _visits(history, np.empty(0, np.int32), recency, seed)
    places = np.arange(len(history.items), dtype=np.int32)
    places -= np.repeat(history.indptr[:-1].astype(np.int32), np.diff(history.indptr))
    return places


def recency_weights(history: History, recency: float) -> NDArray[np.float32]:
    """Returns the weight of each of `history.by_time`, (E,), with a mean of 1 for each user."""
    lengths = np.diff(history.indptr)
    weights = _weights(history, recency)
    means = np.cumsum(weights)[lengths - 1] / np.maximum(lengths, 1)
    found = np.empty(len(history.items), np.float32)
    _fill_weights(read_only(history.indptr), weights, means, found)
    return found


def compile_kernel() -> None:
    """Fills numba's cache on disk, which worker processes then load."""
    one = np.zeros(1, np.int32)
    history = History(np.array([0, 1]), one, 1, one)
    draw_positives(history, 1.0, 0)
    recency_weights(history, 1.0)


def items_by_time(history: History) -> NDArray[np.int32]:
    """Returns `history.by_time`, (E,).

    Raises:
        ValueError: The history does not know the order of its items, which recency needs.
    """
    if history.by_time is None:
        raise ValueError("recency > 0 needs a history with `by_time`, the order of its items")
    return history.by_time


def _visits(
    history: History, rows: NDArray[np.int32], recency: float, seed: int
) -> NDArray[np.int32]:
    """Returns the entries that an epoch visits, (E,), of `rows`, laid out as `by_time` is.

    Where there are no rows, these are places in the user's items by time.
    """
    visited = np.empty(len(history.items), np.int32)
    _fill_visited(
        read_only(history.indptr),
        read_only(rows),
        np.cumsum(_weights(history, recency)),
        splitmix_state(seed),
        visited,
    )
    return visited


def _weights(history: History, recency: float) -> NDArray[np.float64]:
    """Returns the weights of the longest row's items, latest first."""
    longest = int(np.diff(history.indptr).max(initial=1))
    return np.asarray(np.arange(1, longest + 1, dtype=np.float64) ** -recency)


@njit(cache=True)
def _fill_weights(
    indptr: NDArray[np.int64],
    weights: NDArray[np.float64],
    means: NDArray[np.float64],
    found: NDArray[np.float32],
) -> None:
    for u in range(len(indptr) - 1):
        for e in range(indptr[u], indptr[u + 1]):
            found[e] = weights[indptr[u + 1] - e - 1] / means[u]


@njit(cache=True)
def _fill_visited(
    indptr: NDArray[np.int64],
    rows: NDArray[np.int32],
    cumulative: NDArray[np.float64],
    state: np.uint64,
    visited: NDArray[np.int32],
) -> None:
    for u in range(len(indptr) - 1):
        start, stop = indptr[u], indptr[u + 1]
        n = stop - start
        state += GOLDEN
        shift = random_below(state, 1 << 32) / 2.0**32
        a = 1
        for k in range(n):
            while a < n and cumulative[a - 1] <= (k + shift) * cumulative[n - 1] / n:
                a += 1
            visited[start + k] = rows[stop - a] if len(rows) else n - a
