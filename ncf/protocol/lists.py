"""The lists that users would be shown: how much of the catalogue they reach, and how they agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ncf.protocol.ranks import BLOCK_BYTES, Scorer
from ncf.protocol.splitting import History


def best_items(
    scorer: Scorer, users: NDArray[np.int32], known: History, k: int
) -> NDArray[np.int64]:
    """Returns each user's best k items in any order, (U, k); -1 where there are fewer.

    Args:
        scorer: Scores users with items.
        users: The users, each once.
        known: What is known of the users, which is not listed again.
        k: The length of a list; for more than there are items, all are taken.
    """
    k = min(k, known.n_items)
    found = np.empty((len(users), k), np.int64)
    block = max(1, BLOCK_BYTES // (known.n_items * 4))
    for start in range(0, len(users), block):
        some = users[start : start + block]
        scores = np.array(scorer.score_all(some))
        for row, user in zip(scores, some, strict=True):
            row[known.items[known.indptr[user] : known.indptr[user + 1]]] = -np.inf
        scores[np.isnan(scores)] = -np.inf
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        is_scored = np.take_along_axis(scores, best, axis=1) > -np.inf
        found[start : start + block] = np.where(is_scored, best, -1)
    return found


def coverage(lists: NDArray[np.int64], n_items: int) -> float:
    """Returns the share of all items that are in at least one of the lists (U, k).

    >>> coverage(np.array([[0, 3], [3, -1]]), n_items=4)
    0.5
    """
    return len(np.unique(lists[lists >= 0])) / n_items


def agreement(lists: Sequence[NDArray[np.int64]]) -> float:
    """Returns the share of listed items that another's list for the user has too, mean over pairs.

    Args:
        lists: The lists of two or more models for the same users, each (U, k).

    >>> agreement([np.array([[0, 3], [1, 2]]), np.array([[3, 0], [2, 4]])])
    0.75
    """
    shares = [
        ((one[:, :, None] == other[:, None, :]) & (one >= 0)[:, :, None]).sum() / (one >= 0).sum()
        for one, other in combinations(lists, 2)
    ]
    return float(np.mean(shares))
