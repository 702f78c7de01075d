"""Ranks of the positives to HR@k, nDCG@k and MRR@k.

With one positive per user at rank r (1 is best), each is a function of r alone:

    HR@k   = 1 if r <= k else 0
    nDCG@k = 1 / log2(r + 1) if r <= k else 0     (the ideal DCG is 1)
    MRR@k  = 1 / r if r <= k else 0

A metric of a user with several positives is the mean over them, and a metric of a data set is the
mean over its evaluated users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FULL = "full_"  # what the name of a metric over the full catalogue begins with
OBJECTIVES = ("ndcg", "hit_ratio", "mrr", "full_ndcg", "full_hit_ratio", "full_mrr")
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


def per_user(
    ranks: NDArray[np.int32], k: int, users: NDArray[np.integer[Any]] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Returns each metric of each user, (U,), by the name that it is logged with.

    Args:
        ranks: The ranks of the positives, (V,).
        k: The length of the lists that are judged.
        users: The user of each rank, (V,), ascending; None where each is another user's.

    >>> per_user(np.int32([1, 3, 1]), 1, users=np.int32([0, 0, 4]))["hit_ratio_1"]
    array([0.5, 1. ])
    """
    found = {
        f"hit_ratio_{k}": hit_ratio(ranks, k),
        f"ndcg_{k}": ndcg(ranks, k),
        f"mrr_{k}": reciprocal_rank(ranks, k),
    }
    return found if users is None else {name: mean_by_user(found[name], users) for name in found}


def mean_by_user(
    values: NDArray[np.float64], users: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Returns the mean of each user's values, the users in ascending order."""
    starts = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
    means: NDArray[np.float64] = np.add.reduceat(values, starts)
    means /= np.diff(np.append(starts, len(users)))
    return means


def summarize(
    ranks: NDArray[np.int32], k: int, users: NDArray[np.integer[Any]] | None = None
) -> dict[str, float]:
    """Returns the means over users, named as they are logged; arguments as of `per_user`.

    >>> {name: round(value, 3) for name, value in summarize(np.int32([1, 3, 11]), k=10).items()}
    {'hit_ratio_10': 0.667, 'ndcg_10': 0.5, 'mrr_10': 0.444}
    """
    return {name: float(values.mean()) for name, values in per_user(ranks, k, users).items()}


@dataclass(frozen=True)
class Objective:
    """The one validation metric that a search maximises.

    Stopping, pruning, the proposals, the confirmation and the registry all read the same one.

    Attributes:
        metric: "ndcg", "hit_ratio" or "mrr", on the sampled candidates; with "full_" before it,
            over the full catalogue.
        k: The length of the lists that are judged.
    """

    metric: str = "ndcg"
    k: int = 10

    def __post_init__(self) -> None:
        if self.metric not in OBJECTIVES:
            raise ValueError(f"--objective {self.metric}: known are {', '.join(OBJECTIVES)}")

    @property
    def is_full(self) -> bool:
        """Whether it is over the full catalogue."""
        return self.metric.startswith(FULL)

    @property
    def sampled(self) -> Objective:
        """The same metric on the sampled candidates."""
        return Objective(self.metric.removeprefix(FULL), self.k)

    @property
    def name(self) -> str:
        """The metric's name as `summarize` gives it and as it is logged, perhaps with "full_"."""
        return f"{self.metric}_{self.k}"

    @property
    def label(self) -> str:
        """The metric's name as people write it."""
        return label(self.name)

    def value(self, metrics: Mapping[str, float]) -> float:
        """Returns the objective's value among metrics by name."""
        return metrics[self.name]


def label(name: str) -> str:
    """Returns a metric's name as people write it.

    >>> label("hit_ratio_10"), label("full_ndcg_10")
    ('HR@10', 'full nDCG@10')
    """
    metric, _, k = name.removeprefix(FULL).rpartition("_")
    return f"{'full ' if name.startswith(FULL) else ''}{_LABELS[metric]}@{k}"
