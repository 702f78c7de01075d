"""A mixture: a model that is fitted already, with Markov counts beside it.

Factors of few dimensions generalize, and forget which item came right after which; counts of what
follows what are a memory of just that. score(u, i) is the weighted sum of the two models' scores,
each by its mean and deviation over all items for the user (`ncf.serving.mixture`). To mix scores of
another model with what is counted is as old as the combination of collaborative filters.

On the validation of ml-100k, where three seeds of GMF reach .551 nDCG@10 (.148 over the full
catalogue), a weight of .15 gives .5535 (.150); on the first 15 ratings of each user of ml-1m, where
they reach .583 (.144), a weight of .3 gives .604 (.161). Factors that were trained with the counts
as a fixed term of their logit, the user's own transition left out, were worse on ml-100k than those
that are mixed afterwards: .546 in place of .551 with the same term, the mean of two seeds.
`experiments/benchmarks/mixture.py` measures what a weight gives on other data.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ncf.models import markov
from ncf.models.markov import MarkovHyperparameters
from ncf.models.model import Epoch, make_plain, require
from ncf.protocol.splitting import History
from ncf.serving.mixture import Mixture

if TYPE_CHECKING:
    import optuna

_N_SETTINGS = 20
_MOST_CELLS = 30_000_000_000  # scores of users with items, of all settings of a large set together


@dataclass(frozen=True)
class MixtureHyperparameters:
    """One setting of the mixture; what it is mixed with has a setting of its own.

    Attributes:
        weight: That of the counts; the other model's is 1 less this.
        lag_decay: As of `MarkovHyperparameters`, and so are the others.
    """

    weight: float = 0.2
    lag_decay: float = 0.5
    row_power: float = 0.5
    column_power: float = 0.5
    decay: float = 1.0

    def __post_init__(self) -> None:
        make_plain(self)
        require(0 <= self.weight <= 1, "0 <= weight <= 1", self.weight)
        _ = self.counts  # which checks the others

    @property
    def counts(self) -> MarkovHyperparameters:
        """The setting of the counts."""
        values = (self.lag_decay, self.row_power, self.column_power, self.decay)
        return MarkovHyperparameters(*values)


def with_counts(setting: MarkovHyperparameters) -> MixtureHyperparameters:
    """Returns the mixture of the default weight with these counts."""
    return MixtureHyperparameters(**asdict(setting))


def most_settings(n_items: int) -> int:
    """Returns how many settings are tried: few, as the counts are tuned by themselves before."""
    return _N_SETTINGS


def most_settings_of_large(history: History) -> int:
    """Returns how many settings are tried at most of a large set, at least 1.

    To judge one, each user is scored with every item, whose scores set the scale.
    """
    return max(1, _MOST_CELLS // (history.n_users * history.n_items))


def fit(
    history: History,
    setting: MixtureHyperparameters,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
    beside: Path | None = None,
) -> Iterator[Epoch]:
    """Yields the mixture as its only epoch; nothing in it is random.

    `beside` is the file of the arrays of the model that the counts are mixed with, which was fitted
    on the same history.

    Raises:
        ValueError: There is no such model, or as of `ncf.models.markov.fit`.
    """
    from safetensors.numpy import load_file

    from ncf.serving.scorers import load_scorer

    if beside is None:
        raise ValueError("a mixture needs a fitted model that the counts are mixed with")
    start = time.perf_counter()
    first = load_scorer(load_file(beside))
    (counts,) = markov.fit(history, setting.counts, epochs=1, seed=seed)
    scorer = Mixture(first, counts.scorer, setting.weight)
    yield Epoch(1, 0.0, time.perf_counter() - start, len(history.items), scorer)


def space(trial: optuna.Trial) -> MixtureHyperparameters:
    """Suggests one setting of the mixture."""
    weight = trial.suggest_float("weight", 0, 0.5)
    return MixtureHyperparameters(weight, **asdict(markov.space(trial)))
