"""EASE^R (Steck, WWW 2019): each item by a linear sum over the user's others, in closed form.

score(u, i) = sum of r_uj B_ji over the items j that u has in train. B minimizes

    |X - X B|^2 + regularization |B|^2,  with B_ii = 0 for every item i

for the binary train matrix X (U, I), which is B = P / -diag(P) off its diagonal, by column, with
P = (X^T X + regularization * identity)^-1.

r_uj is a^-recency for the a-th latest item of u, so that the model may use the order of time, and 1
where recency is 0. To inverse a matrix of all items takes I^3 steps and 12 I^2 bytes,
and the model is 4 I^2 bytes, so that more than `MOST_ITEMS` are refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ncf.models.model import Epoch, require
from ncf.protocol.splitting import History
from ncf.serving.item_item import DenseItemItem

if TYPE_CHECKING:
    import optuna

MOST_ITEMS = 20_000  # for which the inverse takes minutes and 4.8 GB
_MOST_STEPS = 20 * 10_000**3  # of all settings together, on one thread some ten minutes


@dataclass(frozen=True)
class EASEHyperparameters:
    """One setting of EASE.

    Attributes:
        regularization: Of the squared weights; the best grows with the users per item.
        recency: g, by which a user's a-th latest item counts in proportion to a^-g.
    """

    regularization: float = 1000.0
    recency: float = 0.0

    def __post_init__(self) -> None:
        require(self.regularization > 0, "regularization > 0", self.regularization)
        require(self.recency >= 0, "recency >= 0", self.recency)


def check_size(history: History) -> None:
    """Checks that a matrix of items by items can be inverted.

    Raises:
        ValueError: There are more items than `MOST_ITEMS`.
    """
    if history.n_items > MOST_ITEMS:
        raise ValueError(
            f"EASE weighs each of {history.n_items:,} items with each, which takes "
            f"{12 * history.n_items**2 / 1e9:.1f} GB, and is left out above {MOST_ITEMS:,} items: "
            "name the other --baselines, without ease"
        )


def most_settings(n_items: int) -> int:
    """Returns how many settings are tried at most: fewer where each takes minutes, at least 5.

    It is read from the items alone, and not from a clock, so that a search comes out the same on
    a slow machine.

    >>> [most_settings(n_items) for n_items in (4_000, 10_000, 20_000)]
    [312, 20, 5]
    """
    return max(5, _MOST_STEPS // n_items**3)


def fit(
    history: History,
    setting: EASEHyperparameters,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[Epoch]:
    """Yields the fitted EASE as its only epoch; nothing in it is random.

    Raises:
        ValueError: There are too many items, or `recency` is above 0 and the history does not know
            the order of its items.
    """
    check_size(history)
    from scipy.linalg.lapack import dpotrf, dpotri
    from threadpoolctl import threadpool_limits

    from ncf.models.matrix import rows_by_place
    from ncf.models.pairs import shared_users, without_own

    start = time.perf_counter()
    rows = rows_by_place(history, setting.recency)
    gram = shared_users(history)
    gram[np.diag_indices_from(gram)] += setting.regularization
    with threadpool_limits(1, "blas"):  # as many threads as a trial has, and the same bits
        # Transposed it is the same matrix, in the order of Fortran: it is inverted in its place.
        factor, _ = dpotrf(gram.T, lower=1, clean=0, overwrite_a=1)
        inverse, _ = dpotri(factor, lower=1, overwrite_c=1)
    scorer = DenseItemItem(*rows, without_own(inverse))
    yield Epoch(1, 0.0, time.perf_counter() - start, len(history.items), scorer)


def space(trial: optuna.Trial) -> EASEHyperparameters:
    """Suggests one setting of EASE."""
    return EASEHyperparameters(
        regularization=trial.suggest_float("regularization", 10, 10_000, log=True),
        recency=trial.suggest_float("recency", 0, 2),
    )
