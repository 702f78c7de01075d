"""What every model keeps to: a setting, a fit that yields usable epochs, a scorer of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ncf.protocol.splitting import History
from ncf.serving.scorers import Scorer

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Epoch:
    """One epoch of training.

    Attributes:
        epoch: Its number, from 1.
        loss: The mean of what is minimized over the epoch's samples, each before its update; 0
            where a model is fitted at once.
        seconds: Duration of the training alone.
        n_samples: User-item pairs trained on.
        scorer: The model after this epoch. The next epoch may change its arrays in place, so
            whoever keeps it copies its `arrays()`.
    """

    epoch: int
    loss: float
    seconds: float
    n_samples: int
    scorer: Scorer


class Fit(Protocol):
    """Fits a setting; the same history, setting and seed give the same epochs, bit for bit."""

    def __call__(
        self,
        history: History,
        setting: Any,
        *,
        epochs: int,
        seed: np.random.SeedSequence,
        device: str = "cpu",
        starts: Path | None = None,
    ) -> Iterator[Epoch]:
        """Yields a usable model after every epoch.

        Args:
            history: The training interactions.
            setting: The hyperparameters, of the model's own type.
            epochs: The most epochs to train; a model that is fitted at once yields one.
            seed: Decides all that is random.
            device: Where a model that is trained by PyTorch trains: "cpu", "cuda", "mps", "auto".
            starts: Folder where models that start from a decomposition of the history keep it.

        Raises:
            ValueError: The history cannot be trained on.
        """
        ...


@dataclass(frozen=True)
class Model:
    """One kind of model.

    Attributes:
        name: Its name in options and records, such as "itemknn".
        title: Its name in tables and texts, such as "item-kNN".
        defaults: The setting that a search tries first.
        space: Suggests a setting, given an Optuna trial.
        fit: Trains a setting.
        most_epochs: How many epochs `fit` yields at most; None where the caller decides.
        check_size: Raises a ValueError, before anything costly, where the model of a history would
            be too large; None where it grows with the interactions.
        is_seeded: Whether what is fitted depends on the seed; if not, fresh seeds confirm nothing.
        most_settings: How many settings are tried at most on this many items, where a fit takes
            long; None where it does not.
        most_settings_of_large: The same of a history, where a study has so many users that trials
            rank the full catalogue for a sample of them.
    """

    name: str
    title: str
    defaults: Any
    space: Callable[[optuna.Trial], Any]
    fit: Fit
    most_epochs: int | None = None
    check_size: Callable[[History], None] | None = None
    is_seeded: bool = True
    most_settings: Callable[[int], int] | None = None
    most_settings_of_large: Callable[[History], int] | None = None


def make_plain(setting: Any) -> None:
    """Replaces the numpy numbers in a new setting, a frozen dataclass, by Python's equal ones."""
    for field in fields(setting):
        value = getattr(setting, field.name)
        if isinstance(value, np.generic):
            object.__setattr__(setting, field.name, value.item())


def require(holds: bool, rule: str, value: object) -> None:
    """Raises a ValueError that states the rule and the value, where the rule does not hold."""
    if not holds:
        raise ValueError(f"`{rule}` must hold, but got {value!r}")
