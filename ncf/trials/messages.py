"""What the coordinator and its workers tell each other.

Importing this is cheap: the coordinator needs no torch to hand out work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ncf.protocol.metrics import Objective

if TYPE_CHECKING:
    from ncf.models.table import Setting


@dataclass(frozen=True)
class Task:
    """One trial to run.

    Attributes:
        number: What the events of it are marked with: a trial's number in its study.
        setting: What to train, of whichever model.
        seed: Fixes all randomness of it.
        epochs: Most epochs to train.
        patience: Epochs without a better validation nDCG after which to stop.
        objective: The validation metric by which epochs are compared.
        device: Device of the models that PyTorch trains.
        stop_below: Entry e - 1 stops the trial after epoch e if its best nDCG so far is lower.
        weights: File to write the best epoch's weights to; None where nobody needs them.
    """

    number: int
    setting: Setting
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
    setting: Setting
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
