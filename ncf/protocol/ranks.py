"""A scorer and candidates, or the full catalogue, to the rank of each user's positive.

The rank is 1 + the number of other candidates that are *not scored lower*: a tie or a NaN counts
against the positive, so a constant scorer and a diverged one rank last.
The sampled protocol ranks the positive among N items that the user never touched (He et al.
2017); the full one among all items but the user's history. Both are reported since sampled
metrics can reverse an order (Krichene & Rendle, "On Sampled Metrics for Item Recommendation",
KDD 2020).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ncf.protocol.splitting import HeldOut, History

MOST_USERS = 20_000  # for whom a trial ranks the full catalogue
BLOCK_BYTES = 32 << 20  # scores of a block of users that stay near the processor


class Scorer(Protocol):
    """Anything that scores users with items, higher is better."""

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.floating[Any]]:
        """Returns the scores (B, C) of users (B,) with items (B, C)."""
        ...

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.floating[Any]]:
        """Returns the scores (B, I) of users (B,) with every item."""
        ...


@dataclass(frozen=True)
class Sample:
    """Who stands for all users where ranking the full catalogue for each would take too long.

    Attributes:
        n_users: Their number.
        seed: Decides who they are.
    """

    n_users: int
    seed: int


def sampled_ranks(
    scorer: Scorer, users: NDArray[np.int32], candidates: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Returns the rank (V,) of the first of each user's candidates (V, C).

    A candidate of -1 is padding, where a user has fewer untouched items than were asked for.
    """
    ranks = np.empty(len(users), np.int32)
    block = max(1, BLOCK_BYTES // (candidates.shape[1] * 128))
    for start in range(0, len(users), block):
        rows = slice(start, start + block)
        items = candidates[rows]
        is_padding = items < 0
        scores = scorer.score(users[rows], np.where(is_padding, 0, items))
        beats = ~(scores < scores[:, :1]) & ~is_padding  # the positive itself is the 1 of the rank
        ranks[rows] = beats.sum(axis=1)
    return ranks


def some_users(held_out: HeldOut, n_users: int = MOST_USERS, seed: int = 0) -> HeldOut:
    """Returns the held-out items of at most so many users, the same for the same seed."""
    users = np.unique(held_out.users)
    if len(users) <= n_users:
        return held_out
    chosen = np.random.default_rng(seed).choice(users, n_users, replace=False)
    is_chosen = np.isin(held_out.users, chosen)
    return HeldOut(held_out.users[is_chosen], held_out.items[is_chosen])


def full_ranks(
    scorer: Scorer, held_out: HeldOut, seen: History, n_threads: int = 1
) -> NDArray[np.int32]:
    """Returns the rank (V,) of each held-out item among all items that the user has not seen.

    The held-out item itself counts as not seen, whether or not `seen` holds it. Memory is bounded:
    a block of users at a time for each thread.

    Args:
        scorer: The scorer.
        held_out: The items to rank, V of them.
        seen: The items that a user's are not ranked among.
        n_threads: How many blocks are ranked at once.
    """
    from threadpoolctl import threadpool_limits  # here, as commands that rank nothing do without

    ranks = np.empty(len(held_out.users), np.int32)
    block = max(1, BLOCK_BYTES // (seen.n_items * 4))

    def rank(start: int) -> None:
        rows = slice(start, start + block)
        ranks[rows] = _block_ranks(scorer, held_out.users[rows], held_out.items[rows], seen)

    starts = range(0, len(ranks), block)
    limit = 1 if n_threads > 1 else None  # threads of BLAS would compete with these
    with threadpool_limits(limit, "blas"), ThreadPoolExecutor(n_threads) as pool:
        for start in starts[:1]:  # by itself, since a scorer may make what it keeps for the others
            rank(start)
        for _ in pool.map(rank, starts[1:]):  # which raises what a thread has raised
            pass
    return ranks


def _block_ranks(
    scorer: Scorer, users: NDArray[np.int32], positives: NDArray[np.int32], seen: History
) -> NDArray[np.int64]:
    """Returns the ranks (B,) of the items of some users, all of whose scores are held at once."""
    # A user with several held-out items is scored once: with a long history that takes a while.
    distinct, place = np.unique(users, return_inverse=True)
    is_repeated = len(distinct) < len(users)
    scores = scorer.score_all(distinct)[place] if is_repeated else scorer.score_all(users)
    rows = np.arange(len(users))
    positive = scores[rows, positives]
    n_lower = np.count_nonzero(scores < positive[:, None], axis=1)
    # Seen items are taken out of the count again, by their flat positions in `seen`.
    lengths = seen.indptr[users + 1] - seen.indptr[users]
    row_of = np.repeat(rows, lengths)
    first = np.repeat(seen.indptr[users] - (np.cumsum(lengths) - lengths), lengths)
    items = seen.items[first + np.arange(len(row_of))]
    is_other = items != positives[row_of]
    row_of, items = row_of[is_other], items[is_other]
    n_seen = np.bincount(row_of, minlength=len(users))
    seen_lower = np.bincount(
        row_of, weights=scores[row_of, items] < positive[row_of], minlength=len(users)
    )
    return np.asarray(seen.n_items - n_seen - (n_lower - seen_lower), np.int64)
