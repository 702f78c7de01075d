"""The lists that users would be shown: how much of the catalogue they reach."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ncf.protocol.ranks import BLOCK_BYTES, Scorer
from ncf.protocol.splitting import History


def coverage(scorer: Scorer, users: NDArray[np.int32], known: History, k: int) -> float:
    """Returns the share of all items that are among the best k of at least one user.

    Args:
        scorer: Scores users with items.
        users: The users, each once.
        known: What is known of the users, which is not listed again.
        k: The length of a list.
    """
    is_listed = np.zeros(known.n_items, bool)
    block = max(1, BLOCK_BYTES // (known.n_items * 4))
    for start in range(0, len(users), block):
        some = users[start : start + block]
        scores = np.array(scorer.score_all(some))
        for row, user in zip(scores, some, strict=True):
            row[known.items[known.indptr[user] : known.indptr[user + 1]]] = -np.inf
        scores[np.isnan(scores)] = -np.inf
        best = np.argpartition(-scores, min(k, known.n_items) - 1, axis=1)[:, :k]
        is_scored = np.take_along_axis(scores, best, axis=1) > -np.inf
        is_listed[best[is_scored]] = True
    return float(is_listed.mean())
