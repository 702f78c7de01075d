"""`Experiment`, which an experiment file defines, and the facts about a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING

from ncf.models.model import make_plain, require
from ncf.models.table import Setting

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Experiment:
    """A file in `experiments/` defines one of these under the name `experiment`.

    Attributes:
        name: Name of the MLflow experiment, and of the study unless `--study` gives one.
        data: Name or path of the data set.
        defaults: The setting of trial 0, so that a search never ends below its defaults.
        search_space: Suggests a trial's setting, given its Optuna trial.
        epochs: The most epochs that a trial may train.
        patience: The number of epochs without a better objective after which a trial stops.
        n_sampled_negatives: The number of items that a user never touched, among which the held-out
            item is ranked in the sampled evaluation.
        n_candidates: The name of `n_sampled_negatives` in older experiment files; a value given
            under this name is taken as that.
    """

    name: str
    data: str
    defaults: Setting
    search_space: Callable[[optuna.Trial], Setting]
    epochs: int = 30
    patience: int = 4
    n_sampled_negatives: int = 100
    n_candidates: InitVar[int | None] = None

    def __post_init__(self, n_candidates: int | None) -> None:
        make_plain(self)
        if n_candidates is not None:
            object.__setattr__(self, "n_sampled_negatives", n_candidates)
        for name in ("name", "data"):
            value = getattr(self, name)
            require(isinstance(value, str) and value != "", f"{name} is a text", value)
        for name in ("epochs", "patience", "n_sampled_negatives"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, f"{name} >= 1", value)


@dataclass(frozen=True)
class DataFacts:
    """The data set of a search in a few words and numbers.

    Attributes:
        name: Its name.
        fingerprint: The SHA-256 of its interactions.
        counts: The numbers of users, items, interactions and evaluated users.
    """

    name: str
    fingerprint: str
    counts: Mapping[str, int]

    @property
    def digest(self) -> str:
        """The part of the fingerprint that tables show."""
        return self.fingerprint[:12]
