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

from typing import Any

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


def touched_filter(history: History) -> NDArray[np.uint32]:
    """Returns bits that tell most untouched items from touched ones, laid out as the items are.

    A user's n words hold 32 n bits. Where these cover the catalogue they are an exact bitmap, else
    a Bloom filter (Bloom, CACM 1970) whose three bits of an item lie in one word, so that a look
    asks for one line of memory. About 1 in 400 untouched items then looks touched.

    Returns:
        (E,) words; user u's are `[indptr[u]:indptr[u + 1]]`.
    """
    words = np.zeros(len(history.items), np.uint32)
    _fill_filter(read_only(history.indptr), read_only(history.items), history.n_items, words)
    return words


def draw_negatives(
    history: History,
    users: NDArray[np.int32],
    n_negatives: int,
    seed: int,
    touched: NDArray[np.uint32] | None = None,
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
        read_only(touched),
        history.n_items,
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
def _word(item: int, n_words: int, n_items: int) -> Any:
    """The place of an item's bits among its user's words."""
    if 32 * n_words >= n_items:
        return np.int64(item) >> 5
    high = (np.uint64(item) * GOLDEN) >> np.uint64(32)
    return np.int64((high * np.uint64(n_words)) >> np.uint64(32))


@njit(cache=True)
def _mask(item: int, n_words: int, n_items: int) -> Any:
    """The item's bits in that word."""
    if 32 * n_words >= n_items:
        return np.uint32(1 << (item & 31))
    low = np.int64((np.uint64(item) * GOLDEN) & LOW_32)  # of which the first bits are not random
    return np.uint32(1 << (low >> 27) | 1 << (low >> 22 & 31) | 1 << (low >> 17 & 31))


@njit(cache=True)
def _fill_filter(
    indptr: NDArray[np.int64], items: NDArray[np.int32], n_items: int, words: NDArray[np.uint32]
) -> None:
    for u in range(len(indptr) - 1):
        start, n = indptr[u], indptr[u + 1] - indptr[u]
        for item in items[start : start + n]:
            words[start + _word(item, n, n_items)] |= _mask(item, n, n_items)


@njit(cache=True)
def _fill_negatives(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    touched: NDArray[np.uint32],
    n_items: int,
    users: NDArray[np.int32],
    state: np.uint64,
    popular_negatives: np.uint64,
    negatives: NDArray[np.int32],
) -> None:
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
                prefetch(touched, start + _word(item, stop - start, n_items))
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
                mask = _mask(item, n_touched, n_items)
                if touched[start + _word(item, n_touched, n_items)] & mask != mask:
                    break
                if 32 * n_touched < n_items and not _is_in(items[start:stop], item):
                    break
                state += GOLDEN
                item = random_below(state, n_items)
            negatives[b, j] = item
