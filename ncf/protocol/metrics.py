"""Ranks of the positives to HR@k, nDCG@k and MRR@k.

With one positive per user at rank r (1 is best), each is a function of r alone:

    HR@k   = 1 if r <= k else 0
    nDCG@k = 1 / log2(r + 1) if r <= k else 0     (the ideal DCG is 1)
    MRR@k  = 1 / r if r <= k else 0

A metric of a data set is the mean over its evaluated users.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LABELS = {"hit_ratio": "HR", "ndcg": "nDCG", "mrr": "MRR"}


def hit_ratio(ranks: NDArray[np.int32], k: int) -> NDArray[np.float64]:
    """Returns HR@k of each user, (V,)."""
    return (ranks <= k).astype(np.float64)


def ndcg(ranks: NDArray[np.int32], k: int) -> NDArray[np.float64]:
    """Returns nDCG@k of each user, (V,)."""
    return np.where(ranks <= k, 1 / np.log2(ranks + 1.0), 0.0)


def reciprocal_rank(ranks: NDArray[np.int32], k: int) -> NDArray[np.float64]:
    """Returns the reciprocal rank of each user, 0 beyond k, (V,)."""
    return np.where(ranks <= k, 1.0 / ranks, 0.0)


def summarize(ranks: NDArray[np.int32], k: int) -> dict[str, float]:
    """Returns the means over users, named as they are logged.

    >>> {name: round(value, 3) for name, value in summarize(np.int32([1, 3, 11]), k=10).items()}
    {'hit_ratio_10': 0.667, 'ndcg_10': 0.5, 'mrr_10': 0.444}
    """
    return {
        f"hit_ratio_{k}": float(hit_ratio(ranks, k).mean()),
        f"ndcg_{k}": float(ndcg(ranks, k).mean()),
        f"mrr_{k}": float(reciprocal_rank(ranks, k).mean()),
    }


def label(name: str) -> str:
    """Returns a metric's name as people write it.

    >>> label("hit_ratio_10"), label("ndcg_10")
    ('HR@10', 'nDCG@10')
    """
    metric, _, k = name.rpartition("_")
    return f"{_LABELS[metric]}@{k}"
