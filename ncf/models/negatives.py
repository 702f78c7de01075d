"""Training negatives: items that a user has not touched, drawn afresh for every epoch.

They are uniform, but for a share that may be drawn in proportion to the items' popularity instead:
as the item of a random interaction, and, where the user has touched that, uniformly.

A user's row of a history holds n distinct items in ascending order. Two exact ways to draw from
the other I - n:

- reject: draw from all items until one is not in the row. The row's bits (`touched_filter`)
  settle nearly every test with one look, and a binary search the rest.
- rank: draw a rank below I - n and take the untouched item of that rank, as
  `ncf.protocol.candidates` does; it costs the same for a user who has touched nearly everything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.models.prefetch import prefetch
from ncf.protocol.candidates import n_touched_below
from ncf.protocol.random import GOLDEN, random_below, random_bits, read_only, splitmix_state
from ncf.protocol.splitting import History

LOW_32 = np.uint64(0xFFFFFFFF)

AHEAD = 4  # users between the request for a user's bits and their use


def check_sampleable(history: History) -> None:
    """Refuses a history in which a user has touched every item.

    Raises:
        ValueError: A user has nothing left to draw.
    """
    lengths = np.diff(history.indptr)
    full = np.flatnonzero(lengths >= history.n_items)
    if full.size:
        raise ValueError(
            "every user must have an untouched item to draw as a negative, but "
            f"{full.size} of {lengths.size} users (first: user {full[0]}) have all "
            f"{history.n_items} items; leave these users out or widen the catalogue"
        )


class Touched(NamedTuple):
    """Bits that tell untouched items from touched ones, for nearly all with one look at memory.

    A user's n words hold 32 n bits. Where these cover the catalogue, they are a bitmap by item.
    Else the first half of the words is a bitmap of the most popular items, by rank, and the rest a
    Bloom filter (Bloom, CACM 1970) of the others, whose three bits of an item lie in one word.

    Shapes: words (E,), of which user u's are `[indptr[u]:indptr[u + 1]]`; ranks (I,), 0 for the
    most popular item.
    """

    words: NDArray[np.uint32]
    ranks: NDArray[np.int32]


def touched_filter(history: History) -> Touched:
    """Returns the bits of a history's items."""
    words = np.zeros(len(history.items), np.uint32)
    ranks = np.empty(history.n_items, np.int32)
    ranks[np.argsort(-history.popularity, kind="stable")] = np.arange(history.n_items)
    _fill_filter(read_only(history.indptr), read_only(history.items), read_only(ranks), words)
    return Touched(read_only(words), read_only(ranks))


def draw_negatives(
    history: History,
    users: NDArray[np.int32],
    n_negatives: int,
    seed: int,
    touched: Touched | None = None,
    popular_negatives: float = 0.0,
) -> NDArray[np.int32]:
    """Draws training negatives: for each user, items that are not in their history.

    The negatives of one entry are drawn with replacement. A user who has touched every item has
    none: call `check_sampleable` once before. Who has touched more than half of the catalogue gets
    uniform ones, whatever `popular_negatives`.

    Args:
        history: The training interactions, of which none is drawn for its user.
        users: (B,) users to draw for; a user may occur many times.
        n_negatives: Draws per entry of `users`.
        seed: Any 64-bit integer; equal seeds give equal draws.
        touched: The history's `touched_filter`, to pass when drawing often.
        popular_negatives: Share of draws in proportion to popularity, in [0, 1]; the others are
            uniform.

    Returns:
        (B, N) items.
    """
    if touched is None:
        touched = touched_filter(history)
    negatives = np.empty((len(users), n_negatives), np.int32)
    _fill_negatives(
        read_only(history.indptr),
        read_only(history.items),
        touched,
        read_only(users),
        splitmix_state(seed),
        np.uint64(round(popular_negatives * 2**32)),
        negatives,
    )
    return negatives


@njit(cache=True)
def _random_item(
    state: np.uint64, items: NDArray[np.int32], n_items: int, popular_negatives: np.uint64
) -> Any:
    """Maps a SplitMix64 state to an item: its low half decides how, its high half which."""
    z = random_bits(state)
    high = z >> np.uint64(32)
    if z & LOW_32 < popular_negatives:  # in 2^-32
        return np.int64(items[np.int64(high * np.uint64(len(items)) >> np.uint64(32))])
    return np.int64(high * np.uint64(n_items) >> np.uint64(32))


@njit(cache=True)
def _is_in(row: NDArray[np.int32], item: int) -> bool:
    """Binary search of a row that is not empty; its steps do not branch on the data."""
    start, size = 0, len(row)
    while size > 1:
        half = size >> 1
        start += half if row[start + half - 1] < item else 0
        size -= half
    return bool(row[start] == item)


@njit(cache=True)
def _look(item: int, n: int, ranks: NDArray[np.int32]) -> Any:
    """Returns the place of an item's word among its user's n, its bits, and whether they suffice.

    They do not in the Bloom filter, where an untouched item may have the bits of others.
    """
    if 32 * n >= len(ranks):
        return np.int64(item) >> 5, np.uint32(1 << (item & 31)), True
    rank, n_exact = np.int64(ranks[item]), n >> 1
    if rank < 32 * n_exact:
        return rank >> 5, np.uint32(1 << (rank & 31)), True
    bits = np.uint64(item) * GOLDEN
    place = np.int64(((bits >> np.uint64(32)) * np.uint64(n - n_exact)) >> np.uint64(32))
    low = np.int64(bits & LOW_32)  # of which the first bits are not random
    mask = np.uint32(1 << (low >> 27) | 1 << (low >> 22 & 31) | 1 << (low >> 17 & 31))
    return n_exact + place, mask, False


@njit(cache=True)
def _fill_filter(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    ranks: NDArray[np.int32],
    words: NDArray[np.uint32],
) -> None:
    for u in range(len(indptr) - 1):
        start, n = indptr[u], indptr[u + 1] - indptr[u]
        for item in items[start : start + n]:
            word, mask, _ = _look(item, n, ranks)
            words[start + word] |= mask


@njit(cache=True)
def _fill_negatives(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    touched: Touched,
    users: NDArray[np.int32],
    state: np.uint64,
    popular_negatives: np.uint64,
    negatives: NDArray[np.int32],
) -> None:
    words, ranks = touched
    n_items = len(ranks)
    n_users, n_negatives = negatives.shape
    further = np.uint64(AHEAD * n_negatives) * GOLDEN
    for ahead in range(n_users + AHEAD):
        # first draws, some users ahead of the tests, so that the bits arrive meanwhile
        if ahead + AHEAD < n_users:
            prefetch(indptr, np.int64(users[ahead + AHEAD]))
        if ahead < n_users:
            start, stop = indptr[users[ahead]], indptr[users[ahead] + 1]
            for j in range(n_negatives):
                state += GOLDEN
                item = _random_item(state, items, n_items, popular_negatives)
                negatives[ahead, j] = item
                prefetch(words, start + _look(item, stop - start, ranks)[0])
                if popular_negatives:  # some draws later, unless items are drawn again meanwhile
                    place = (random_bits(state + further) >> np.uint64(32)) * np.uint64(len(items))
                    prefetch(items, np.int64(place >> np.uint64(32)))
        b = ahead - AHEAD
        if b < 0:
            continue
        start, stop = indptr[users[b]], indptr[users[b] + 1]
        n_touched = stop - start
        for j in range(n_negatives):
            item = np.int64(negatives[b, j])
            if 2 * n_touched > n_items:  # rejection would take more than two draws
                state += GOLDEN
                rank = random_below(state, n_items - n_touched)
                item = rank + n_touched_below(items[start:stop], rank)
            while n_touched and 2 * n_touched <= n_items:
                word, mask, is_exact = _look(item, n_touched, ranks)
                if words[start + word] & mask != mask:
                    break
                if not is_exact and not _is_in(items[start:stop], item):
                    break
                state += GOLDEN
                item = random_below(state, n_items)
            negatives[b, j] = item
