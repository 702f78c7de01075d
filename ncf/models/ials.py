"""iALS (Hu, Koren & Volinsky, ICDM 2008): factors that alternate least squares on every cell.

score(u, i) = x_u . y_i, which minimize

    sum_(u,i) c_ui (t_ui - x_u . y_i)^2 + regularization (sum_u |x_u|^2 + sum_i |y_i|^2)

with t_ui = 1 and c_ui = alpha r_ui where u has i in train, else t_ui = 0 and c_ui = 1. r_ui is 1,
or falls with the age of the interaction as the visits of `positives.py` do, so that the model may
use the order of time. The solver is the library `implicit`'s, on one thread.
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
from ncf.serving.factors import Factors

if TYPE_CHECKING:
    import optuna


MOST_INTERACTIONS = 150_000_000  # of which the defaults take a quarter of an hour, on one thread
_MOST_OF_ALL = 40_000_000  # of all settings of a large set together: four minutes of the defaults


@dataclass(frozen=True)
class IALSHyperparameters:
    """One setting of iALS.

    Attributes:
        factors: D, the number of factors of a user and of an item.
        alpha: Weight of an interaction, where that of none is 1.
        regularization_per_alpha: Of the squared lengths of the factors, as a multiple of alpha, as
            the two go together; the best is near 10 on MovieLens, and grows with the interactions
            per user.
        iterations: Times that both users and items are solved for.
        recency: g, by which the weight of a user's a-th latest item is in proportion to a^-g.
    """

    factors: int = 64
    alpha: float = 5.0
    regularization_per_alpha: float = 6.0
    iterations: int = 15
    recency: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)
        for name in ("factors", "iterations"):
            require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name))
        for name in ("alpha", "regularization_per_alpha"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        require(self.recency >= 0, "recency >= 0", self.recency)


def check_size(history: History) -> None:
    """Checks that the factors can be found in a bounded time.

    Raises:
        ValueError: There are more interactions than `MOST_INTERACTIONS`.
    """
    if (n := len(history.items)) > MOST_INTERACTIONS:
        raise ValueError(
            f"iALS of {n:,} interactions takes some {n * 6e-6 / 60:,.0f} minutes for each setting, "
            f"and is left out above {MOST_INTERACTIONS:,}: name the other --baselines, without ials"
        )


def most_settings_of_large(history: History) -> int:
    """Returns how many settings are tried at most of a large set, at least 1."""
    return max(1, _MOST_OF_ALL // len(history.items))


def fit(
    history: History,
    setting: IALSHyperparameters,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[Epoch]:
    """Yields the fitted iALS as its only epoch; the seed is that of its first factors.

    Raises:
        ValueError: `recency` is above 0 and the history does not know the order of its items.
    """
    from ncf.models.matrix import one_blas_thread, train_matrix

    start = time.perf_counter()
    with one_blas_thread():
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            setting.factors, setting.alpha * setting.regularization_per_alpha, setting.alpha,
            iterations=setting.iterations, num_threads=1,
            random_state=int(seed.generate_state(1)[0]),
        )  # fmt: skip
        model.fit(train_matrix(history, setting.recency), show_progress=False)
    bias = np.zeros(history.n_items, np.float32)
    scorer = Factors(model.user_factors, model.item_factors, bias, are_logits=False)
    yield Epoch(1, 0.0, time.perf_counter() - start, len(history.items), scorer)


def space(trial: optuna.Trial) -> IALSHyperparameters:
    """Suggests one setting of iALS."""
    return IALSHyperparameters(
        factors=trial.suggest_categorical("factors", [32, 64, 128, 256]),
        alpha=trial.suggest_float("alpha", 1, 30, log=True),
        regularization_per_alpha=trial.suggest_float("regularization_per_alpha", 0.3, 30, log=True),
        iterations=trial.suggest_int("iterations", 5, 30),
        recency=trial.suggest_float("recency", 0, 2),
    )
