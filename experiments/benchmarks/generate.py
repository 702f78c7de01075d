"""Makes MovieLens-like ratings of any size from a seed: tastes to learn, and the usual long tails.

    python experiments/benchmarks/generate.py --preset latest --seed 1 latest.csv

Users are log-normally active, in exactly E ratings. The item of popularity rank r has the weight
(r + 20 + I / 1000)^-1.6 and belongs to one of 32 groups. A user draws half of the items from a
first group, three in ten from a second, the rest from all, each in proportion to the weights and
without replacement. Every item occurs. A model that learns the groups ranks far above popularity.

The file is `userId,movieId,rating,timestamp`, ordered by user and movie, not by time. It is written
a block of users at a time, so that memory grows with users and items only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numba import njit
from numpy.typing import NDArray

N_GROUPS = 32
SHARES = (0.5, 0.8)  # of draws up to which they are from the first, and the second group
ACTIVITY_SIGMA = 1.3  # of the logarithm of a user's number of ratings
FEWEST = 3  # ratings of a user: one each for train, validation and test
BLOCK = 1 << 20  # ratings written at a time
FIRST_DAY, LAST_DAY = 9_497, 17_800  # since 1970: MovieLens from 1996 to 2018
HEADER = ("userId", "movieId", "rating", "timestamp")
RATINGS = np.array([f"{half / 2:.1f}" for half in range(1, 11)])


@dataclass(frozen=True)
class Size:
    """How much to make."""

    n_users: int
    n_items: int
    n_interactions: int


PRESETS = {
    "latest": Size(283_228, 58_098, 27_753_444),  # as MovieLens' ml-latest of 2018
    "100m": Size(1_000_000, 100_000, 100_000_000),
    "1b": Size(10_000_000, 500_000, 1_000_000_000),
}


def write_ratings(path: Path, size: Size, seed: int) -> None:
    """Writes a CSV file of exactly E ratings by U users of I items.

    Raises:
        ValueError: The size asks for what distinct pairs and the fewest ratings do not allow.
    """
    _check(size)
    kinds = (pa.int32(), pa.int32(), pa.string(), pa.int64())
    schema = pa.schema(list(zip(HEADER, kinds, strict=True)))
    options = pyarrow.csv.WriteOptions(quoting_style="none", include_header=False)
    with path.open("wb") as file:
        file.write(",".join(HEADER).encode() + b"\n")  # pyarrow would quote it
        with pyarrow.csv.CSVWriter(file, schema, write_options=options) as writer:
            for users, movies, halves, timestamps in ratings_blocks(size, seed):
                ratings = pa.DictionaryArray.from_arrays(pa.array(halves - 1), pa.array(RATINGS))
                columns = [pa.array(users + 1), pa.array(movies), ratings.cast(pa.string())]
                writer.write_batch(pa.record_batch([*columns, pa.array(timestamps)], schema=schema))


def ratings_blocks(size: Size, seed: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yields users from 0, movie ids, ratings in half stars and timestamps, a block at a time."""
    _check(size)
    rng = np.random.default_rng(seed)
    counts = _activity(size, rng)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    # Each item is given to the user of one rating, so that all items occur.
    owners = np.searchsorted(
        indptr, rng.choice(size.n_interactions, size.n_items, replace=False), side="right"
    )
    given = rng.permutation(size.n_items).astype(np.int32)[np.argsort(owners, kind="stable")]
    n_given = np.bincount(owners - 1, minlength=size.n_users)
    given_indptr = np.concatenate(([0], np.cumsum(n_given)))
    movie_ids = np.cumsum(rng.integers(1, 7, size.n_items), dtype=np.int32)  # with gaps
    catalogue = _catalogue(size.n_items, rng)
    groups = rng.integers(0, N_GROUPS, (size.n_users, 2), dtype=np.int8)
    last_seen = np.full(size.n_items, -1, np.int32)

    start = 0
    while start < size.n_users:
        stop = max(start + 1, int(np.searchsorted(indptr, indptr[start] + BLOCK, side="right")) - 1)
        n = int(indptr[stop] - indptr[start])
        items, is_taste = np.empty(n, np.int32), np.empty(n, np.bool_)
        _draw(
            start,
            indptr[start : stop + 1] - indptr[start],
            given,
            given_indptr,
            groups,
            *catalogue,
            last_seen,
            rng,
            items,
            is_taste,
        )
        users = np.repeat(np.arange(start, stop, dtype=np.int32), counts[start:stop])
        stars = rng.normal(3.3, 1.0, n).astype(np.float32) + 0.6 * is_taste
        halves = np.clip(np.rint(2 * stars), 1, 10).astype(np.int8)
        timestamps = _timestamps(indptr[start:stop] - indptr[start], counts[start:stop], rng)
        order = np.argsort(users * np.int64(size.n_items) + items)
        yield users, movie_ids[items[order]], halves[order], timestamps[order]
        start = stop


def _check(size: Size) -> None:
    low = max(size.n_items, FEWEST * size.n_users)
    high = size.n_users * (size.n_items // 2)
    if min(size.n_users, size.n_items) < 2 or not low <= size.n_interactions <= high:
        raise ValueError(
            f"{size.n_users} users and {size.n_items} items can have {low} to {high} interactions "
            f"(at least {FEWEST} each, at most half of the items), got {size.n_interactions}"
        )


def _activity(size: Size, rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns each user's number of ratings, log-normal within bounds, E in all."""
    weights = rng.lognormal(0, ACTIVITY_SIGMA, size.n_users)
    low, high = 0.0, size.n_interactions / weights.min()
    for _ in range(100):  # bisection of the scale; the sum rises with it
        scale = (low + high) / 2
        counts = np.clip(weights * scale, FEWEST, size.n_items // 2).astype(np.int64)
        low, high = (scale, high) if counts.sum() <= size.n_interactions else (low, scale)
    counts = np.clip(weights * low, FEWEST, size.n_items // 2).astype(np.int64)
    while missing := size.n_interactions - int(counts.sum()):
        has_room = np.flatnonzero(counts < size.n_items // 2)
        counts[rng.choice(has_room, min(missing, len(has_room)), replace=False)] += 1
    return counts


def _catalogue(n_items: int, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """Returns items ordered by group, the groups' bounds and the running sum of the weights."""
    weights = (rng.permutation(n_items) + 20 + n_items / 1000) ** -1.6
    group_of = rng.integers(0, N_GROUPS, n_items)
    by_group = np.argsort(group_of, kind="stable").astype(np.int32)
    bounds = np.searchsorted(group_of[by_group], np.arange(N_GROUPS + 1))
    return by_group, bounds, np.concatenate(([0.0], np.cumsum(weights[by_group])))


def _timestamps(
    first: NDArray[np.int64], counts: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Returns times that rise with a user's draws: sessions of seconds, now and then days apart."""
    n = int(counts.sum())
    gaps = rng.exponential(15, n) + 86_400 * rng.exponential(5, n) * (rng.random(n) < 0.01)
    gaps[first] = 0
    elapsed = np.cumsum(gaps)
    start = 86_400 * rng.uniform(FIRST_DAY, LAST_DAY, len(counts))
    return (elapsed + np.repeat(start - elapsed[first], counts)).astype(np.int64)


def _draw_block(
    first_user: int,
    indptr: Any,
    given: Any,
    given_indptr: Any,
    groups: Any,
    by_group: Any,
    bounds: Any,
    running: Any,
    last_seen: Any,
    rng: Any,
    items: Any,
    is_taste: Any,
) -> None:
    """Fills `items` with distinct ones per user; `last_seen` (I,) is the last user of an item."""
    for u in range(len(indptr) - 1):
        user, e = first_user + u, indptr[u]
        for g in range(given_indptr[user], given_indptr[user + 1]):
            items[e], is_taste[e] = given[g], False
            last_seen[given[g]] = user
            e += 1
        n_rejected = 0
        while e < indptr[u + 1]:
            share = rng.random()
            group = groups[user, 0] if share < SHARES[0] else groups[user, 1]
            start, stop = bounds[group], bounds[group + 1]
            taste = share < SHARES[1] and start < stop
            if not taste:
                start, stop = 0, len(by_group)
            if n_rejected < 16:
                low, high = start, stop - 1
                goal = running[start] + rng.random() * (running[stop] - running[start])
                while low < high:  # the last position whose running sum is at most the goal
                    middle = (low + high + 1) >> 1
                    if running[middle] <= goal:
                        low = middle
                    else:
                        high = middle - 1
            else:  # has seen nearly all that is likely: any other will do
                low, taste = rng.integers(0, len(by_group)), False
            item = by_group[low]
            if last_seen[item] == user:
                n_rejected += 1
                continue
            n_rejected = 0
            last_seen[item] = user
            items[e], is_taste[e] = item, taste
            e += 1


_draw: Any = njit(_draw_block, cache=True)


def main() -> None:
    """Reads the command line and writes the file."""
    parser = argparse.ArgumentParser(description="Writes MovieLens-like ratings as a CSV file.")
    parser.add_argument("--preset", choices=PRESETS, help="a known size, instead of the next three")
    parser.add_argument("--users", type=int)
    parser.add_argument("--items", type=int)
    parser.add_argument("--interactions", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("out", type=Path, metavar="OUT.csv")
    options = parser.parse_args()
    sizes = (options.users, options.items, options.interactions)
    if (None in sizes) == (options.preset is None):
        parser.error("give either --preset, or --users, --items and --interactions")
    try:
        size = PRESETS[options.preset] if options.preset else Size(*sizes)
        write_ratings(options.out, size, options.seed)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
