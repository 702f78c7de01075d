"""SLIST (Choi, Kim, Lee & Lee, WWW 2021): EASE that also predicts the next item, in closed form.

score(u, i) = sum over places a of a^-recency B_ji, j the a-th latest item of u. B minimizes

    share |X - X B|^2 + (1 - share) |Y - Z B|^2 + regularization |B|^2,  with B_ii = 0

for the binary train matrix X (U, I); each row of Y has one item that a user took, and the same row
of Z the `WINDOW` items before it, the one l before with l^-lag_decay. With

    A = share X^T X + (1 - share) Z^T Z + regularization * identity,   P = A^-1,
    M = share X^T X + (1 - share) Z^T Y,

it is B = P M - P diag(m), where m_i = (P M)_ii / P_ii makes the diagonal 0. A share of 1 is EASE.
The paper's weights are exponential in place of powers, and its diagonal is bounded and not 0.

Z^T Y are the counts of `ncf.models.markov`. To solve for a matrix of all items takes I^3 steps
and 20 I^2 bytes, so that more than `MOST_ITEMS` are refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ncf.models.model import Epoch, make_plain, require
from ncf.protocol.splitting import History
from ncf.serving.item_item import DenseItemItem

if TYPE_CHECKING:
    import optuna

WINDOW = 20  # items before the next one, by which it is predicted
MOST_ITEMS = 15_000  # for which the solution takes minutes and 4.5 GB
_MOST_STEPS = 20 * 7_000**3  # of all settings together, on one thread some ten minutes
_N_SETTINGS = 20


@dataclass(frozen=True)
class SLISTHyperparameters:
    """One setting of SLIST.

    Attributes:
        share: Of the squared errors for all of a user's items; the rest is for the next item.
        regularization: Of the squared weights; the best grows with the users per item.
        lag_decay: g, by which the item l before the next one counts in proportion to l^-g when B
            is learned.
        recency: g, by which a user's a-th latest item counts in proportion to a^-g in a score.
    """

    share: float = 0.5
    regularization: float = 300.0
    lag_decay: float = 1.5
    recency: float = 1.0

    def __post_init__(self) -> None:
        make_plain(self)
        require(0 <= self.share <= 1, "0 <= share <= 1", self.share)
        require(self.regularization > 0, "regularization > 0", self.regularization)
        require(self.lag_decay >= 0, "lag_decay >= 0", self.lag_decay)
        require(self.recency >= 0, "recency >= 0", self.recency)


def check_size(history: History) -> None:
    """Checks that a system of all items can be solved.

    Raises:
        ValueError: There are more items than `MOST_ITEMS`.
    """
    if history.n_items > MOST_ITEMS:
        raise ValueError(
            f"SLIST weighs each of {history.n_items:,} items with each, which takes "
            f"{20 * history.n_items**2 / 1e9:.1f} GB, and is left out above {MOST_ITEMS:,} items: "
            "name the other --baselines, without slist"
        )


def most_settings(n_items: int) -> int:
    """Returns how many settings are tried: 20, and fewer where each takes minutes, at least 5.

    It is read from the items alone, and not from a clock, so that a search comes out the same on
    a slow machine.

    >>> [most_settings(n_items) for n_items in (4_000, 10_000, 15_000)]
    [20, 6, 5]
    """
    return max(5, min(_N_SETTINGS, _MOST_STEPS // n_items**3))


def fit(
    history: History,
    setting: SLISTHyperparameters,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[Epoch]:
    """Yields the fitted SLIST as its only epoch; nothing in it is random.

    Raises:
        ValueError: There are too many items, or the history does not know the order of its items.
    """
    if history.by_time is None:
        raise ValueError("SLIST needs a history with `by_time`, the order of its items")
    check_size(history)
    from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
    from threadpoolctl import threadpool_limits

    from ncf.models.matrix import rows_by_place
    from ncf.models.pairs import add_windows, following, less_own, shared_users

    start = time.perf_counter()
    by_lag = np.arange(1, WINDOW + 1, dtype=np.float64) ** -setting.lag_decay
    gram = shared_users(history)
    gram *= setting.share
    product = np.array(gram, order="F")
    next_items = following(
        history.indptr, history.by_time, by_lag.astype(np.float32), history.n_items
    )
    next_items *= 1 - setting.share
    product += next_items
    del next_items
    add_windows(history.indptr, history.by_time, by_lag, 1 - setting.share, gram)
    gram[np.diag_indices_from(gram)] += setting.regularization
    with threadpool_limits(1, "blas"):  # as many threads as a trial has, and the same bits
        # Transposed it is the same matrix, in the order of Fortran: it is inverted in its place.
        factor, _ = dpotrf(gram.T, lower=1, clean=0, overwrite_a=1)
        product, _ = dpotrs(factor, product, lower=1, overwrite_b=1)
        inverse, _ = dpotri(factor, lower=1, overwrite_c=1)
    scorer = DenseItemItem(*rows_by_place(history, setting.recency), less_own(inverse, product))
    yield Epoch(1, 0.0, time.perf_counter() - start, len(history.items), scorer)


def space(trial: optuna.Trial) -> SLISTHyperparameters:
    """Suggests one setting of SLIST."""
    return SLISTHyperparameters(
        share=trial.suggest_float("share", 0, 1),
        regularization=trial.suggest_float("regularization", 10, 10_000, log=True),
        lag_decay=trial.suggest_float("lag_decay", 0, 2),
        recency=trial.suggest_float("recency", 0, 2),
    )
