"""Draws items that a user has not touched: training negatives and evaluation candidates.

Candidates are uniform, and so are negatives, of which a share may be drawn in proportion to the
items' popularity instead: as the item of a random interaction, and, where the user has touched
that, uniformly.

A user's row of a CSR holds n distinct items in ascending order. Two exact ways to draw from the
other I - n:

- reject: draw from all items until one is not in the row. The row's bits (`touched_filter`)
  settle nearly every test with one look, and a binary search the rest.
- rank: draw r from [0, I - n) and take the untouched item of that rank, r + k, where k counts the
  touched items below it: k = #{j : row[j] - j <= r}. As row[j] - j never falls, k is a binary
  search. It is uniform, and costs the same for a user who has touched nearly everything.

Random numbers are SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), 32 bits of each mapped to
[0, bound) by multiply and shift (Lemire, TOMACS 2019); a value's probability is off by less than
one part in 2^32 / bound.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.protocol.prefetch import prefetch

T = TypeVar("T", bound=np.generic)

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
HASH = np.uint64(0x9E3779B1)
LOW_32 = np.uint64(0xFFFFFFFF)

AHEAD = 4  # users between the request for a user's bits and their use


def check_sampleable(indptr: NDArray[np.int64], n_items: int) -> None:
    """Refuses a history in which a user has touched every item.

    Args:
        indptr: (U + 1,) bounds of each user's row.
        n_items: Size of the catalogue.

    Raises:
        ValueError: A row leaves nothing to draw.
    """
    lengths = np.diff(indptr)
    full = np.flatnonzero(lengths >= n_items)
    if full.size:
        raise ValueError(
            "every user must have an untouched item to draw as a negative, but "
            f"{full.size} of {lengths.size} users (first: user {full[0]}) have all {n_items} "
            "items; leave these users out or widen the catalogue"
        )


def touched_filter(
    indptr: NDArray[np.int64], items: NDArray[np.int32], n_items: int
) -> NDArray[np.uint32]:
    """Returns bits that tell most untouched items from touched ones, laid out as `items` is.

    A user's n words hold 32 n bits. Where these cover the catalogue they are an exact bitmap,
    else a Bloom filter of one hash, in which at most 1 in 32 untouched items looks touched.

    Returns:
        (E,) words; user u's are `[indptr[u]:indptr[u + 1]]`.
    """
    words = np.zeros(len(items), np.uint32)
    _fill_filter(read_only(indptr), read_only(items), n_items, words)
    return words


def draw_negatives(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    n_items: int,
    users: NDArray[np.int32],
    n_negatives: int,
    seed: int,
    touched: NDArray[np.uint32] | None = None,
    popular: float = 0.0,
) -> NDArray[np.int32]:
    """Draws training negatives: for each user, items that are not in their row.

    The negatives of one entry are drawn with replacement. A user who has touched every item has
    none: call `check_sampleable` once before. Who has touched more than half of the catalogue gets
    uniform ones, whatever `popular`.

    Args:
        indptr: (U + 1,) bounds of each user's row.
        items: (E,) items, ascending and distinct within a row.
        n_items: Size of the catalogue.
        users: (B,) users to draw for; a user may occur many times.
        n_negatives: Draws per entry of `users`.
        seed: Any 64-bit integer; equal seeds give equal draws.
        touched: The history's `touched_filter`, to pass when drawing often.
        popular: Share of draws in proportion to popularity, in [0, 1]; the others are uniform.

    Returns:
        (B, N) items.
    """
    if touched is None:
        touched = touched_filter(indptr, items, n_items)
    negatives = np.empty((len(users), n_negatives), np.int32)
    _fill_negatives(
        read_only(indptr),
        read_only(items),
        read_only(touched),
        n_items,
        read_only(users),
        splitmix_state(seed),
        np.uint64(round(popular * 2**32)),
        negatives,
    )
    return negatives


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


def shuffle(values: NDArray[np.int64], seed: int) -> None:
    """Puts values in a uniformly random order, in place (Fisher-Yates, faster than numpy's).

    Args:
        values: (E,) contiguous.
        seed: Any 64-bit integer; equal seeds give equal orders.
    """
    _shuffle(values, splitmix_state(seed))


def read_only(array: NDArray[T]) -> NDArray[T]:
    """Returns a contiguous view that cannot be written.

    Numba compiles once per argument type, and a read-only array, such as a memory map, is a type
    of its own. Seen through this, all arrays are one type.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def splitmix_state(seed: int) -> np.uint64:
    """Returns a seed, any integer, as the first state of the compiled random numbers."""
    return np.uint64(seed & 0xFFFFFFFFFFFFFFFF)


@njit(cache=True)
def _random_bits(state: np.uint64) -> Any:
    """Maps a SplitMix64 state to 64 random bits."""
    z = (state ^ (state >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


@njit(cache=True)
def random_below(state: np.uint64, bound: int) -> Any:
    """Maps a SplitMix64 state to [0, bound)."""
    return np.int64(((_random_bits(state) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@njit(cache=True)
def _random_item(
    state: np.uint64, items: NDArray[np.int32], n_items: int, popular: np.uint64
) -> Any:
    """Maps a SplitMix64 state to an item: its low half decides how, its high half which."""
    z = _random_bits(state)
    high = z >> np.uint64(32)
    if z & LOW_32 < popular:  # in 2^-32
        return np.int64(items[np.int64(high * np.uint64(len(items)) >> np.uint64(32))])
    return np.int64(high * np.uint64(n_items) >> np.uint64(32))


@njit(cache=True)
def _n_touched_below(row: NDArray[np.int32], rank: int) -> int:
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
def _is_in(row: NDArray[np.int32], item: int) -> bool:
    """Binary search of a row that is not empty; its steps do not branch on the data."""
    start, size = 0, len(row)
    while size > 1:
        half = size >> 1
        start += half if row[start + half - 1] < item else 0
        size -= half
    return bool(row[start] == item)


@njit(cache=True)
def _bit(item: int, n_bits: int, n_items: int) -> Any:
    """The place of an item among its user's bits."""
    if n_bits >= n_items:
        return np.int64(item)
    return np.int64(((np.uint64(item) * HASH & LOW_32) * np.uint64(n_bits)) >> np.uint64(32))


@njit(cache=True)
def _fill_filter(
    indptr: NDArray[np.int64], items: NDArray[np.int32], n_items: int, words: NDArray[np.uint32]
) -> None:
    for u in range(len(indptr) - 1):
        start, stop = indptr[u], indptr[u + 1]
        for e in range(start, stop):
            bit = _bit(items[e], 32 * (stop - start), n_items)
            words[start + (bit >> 5)] |= np.uint32(1 << (bit & 31))


@njit(cache=True)
def _fill_negatives(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    touched: NDArray[np.uint32],
    n_items: int,
    users: NDArray[np.int32],
    state: np.uint64,
    popular: np.uint64,
    negatives: NDArray[np.int32],
) -> None:
    n_users, n_negatives = negatives.shape
    for ahead in range(n_users + AHEAD):
        # first draws, some users ahead of the tests, so that the bits arrive meanwhile
        if ahead + AHEAD < n_users:
            prefetch(indptr, np.int64(users[ahead + AHEAD]))
        if ahead < n_users:
            start, stop = indptr[users[ahead]], indptr[users[ahead] + 1]
            for j in range(n_negatives):
                state += GOLDEN
                item = _random_item(state, items, n_items, popular)
                negatives[ahead, j] = item
                prefetch(touched, start + (_bit(item, 32 * (stop - start), n_items) >> 5))
        b = ahead - AHEAD
        if b < 0:
            continue
        start, stop = indptr[users[b]], indptr[users[b] + 1]
        n_touched, n_bits = stop - start, 32 * (stop - start)
        for j in range(n_negatives):
            item = np.int64(negatives[b, j])
            if 2 * n_touched > n_items:  # rejection would take more than two draws
                state += GOLDEN
                rank = random_below(state, n_items - n_touched)
                item = rank + _n_touched_below(items[start:stop], rank)
            while n_touched and 2 * n_touched <= n_items:
                bit = _bit(item, n_bits, n_items)
                if not (touched[start + (bit >> 5)] >> (bit & 31)) & 1:
                    break
                if n_bits < n_items and not _is_in(items[start:stop], item):
                    break
                state += GOLDEN
                item = random_below(state, n_items)
            negatives[b, j] = item


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
            candidates[b, 1 + d] = rank + _n_touched_below(excluded[:n], rank)


@njit(cache=True)
def _shuffle(values: NDArray[np.int64], state: np.uint64) -> None:
    for k in range(len(values) - 1, 0, -1):
        state += GOLDEN
        j = random_below(state, k + 1)
        values[k], values[j] = values[j], values[k]
