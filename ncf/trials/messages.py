"""What the coordinator and its workers tell each other.

Importing this is cheap: the coordinator needs no torch to hand out work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ncf.protocol.metrics import Objective
from ncf.protocol.splitting import HeldOut, History

if TYPE_CHECKING:
    from ncf.models.table import Setting


@dataclass(frozen=True)
class TrialData:
    """All the data that a trial sees: train, the validation items and their candidates (V, C).

    `starts` is where the trials of a search keep what they start from, for one another.
    """

    train: History
    validation: HeldOut
    candidates: NDArray[np.int32]
    starts: Path | None = None

    def save(self, folder: Path) -> None:
        """Writes one array per file, for `load` in any number of processes."""
        arrays: dict[str, NDArray[Any]] = {
            "indptr": self.train.indptr,
            "items": self.train.items,
            "by_time": self.train.items if self.train.by_time is None else self.train.by_time,
            "n_items": np.array(self.train.n_items),
            "users": self.validation.users,
            "positives": self.validation.items,
            "candidates": self.candidates,
        }
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> TrialData:
        """Maps the arrays into memory: processes share one copy."""
        names = ("indptr", "items", "by_time", "n_items", "users", "positives", "candidates")
        indptr, items, by_time, n_items, users, positives, candidates = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names
        )
        train = History(indptr, items, int(n_items), by_time)
        return cls(train, HeldOut(users, positives), candidates, folder)


@dataclass(frozen=True)
class Task:
    """One trial to run.

    Attributes:
        number: What the events of it are marked with: a trial's number in its study.
        hyperparameters: The setting to train, of whichever model.
        seed: Fixes all randomness of it.
        epochs: Most epochs to train.
        patience: Epochs without a better validation nDCG after which to stop.
        objective: The validation metric by which epochs are compared.
        device: Device of the models that PyTorch trains.
        stop_below: Entry e - 1 stops the trial after epoch e if its best nDCG so far is lower.
        weights: File to write the best epoch's weights to; None where nobody needs them.
    """

    number: int
    hyperparameters: Setting
    seed: np.random.SeedSequence
    epochs: int
    patience: int
    objective: Objective
    device: str
    stop_below: tuple[float, ...]
    weights: Path | None


@dataclass(frozen=True)
class Refit:
    """A setting to train on train and validation, when nothing is left to be chosen.

    Its outcome has no metrics. Attributes are as in `Task`, but that all epochs are trained.
    """

    number: int
    hyperparameters: Setting
    seed: np.random.SeedSequence
    epochs: int
    device: str
    weights: Path


@dataclass(frozen=True)
class EpochReport:
    """What one epoch of a trial came to; `time` is seconds since 1970, `metrics` of validation."""

    number: int
    epoch: int
    time: float
    loss: float
    seconds: float
    n_samples: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        number: The trial's number.
        pruned: Whether `Task.stop_below` stopped it.
        epochs: Epochs trained.
        best_epoch: The epoch of the best validation nDCG, whose weights are in `Task.weights`.
        metrics: Validation metrics of the best epoch, on the sampled candidates.
        metrics_full: The same over the full catalogue.
        seconds: Wall time of the trial.
        time: When it ended, in seconds since 1970.
    """

    number: int
    pruned: bool
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    metrics_full: dict[str, float]
    seconds: float
    time: float


@dataclass(frozen=True)
class Failure:
    """A trial raised an error, or its worker died (`died`), which says nothing about the trial."""

    number: int
    reason: str
    traceback: str = ""
    died: bool = False
