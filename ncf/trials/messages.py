"""The messages between the coordinator and its workers.

Importing this is cheap, so that the coordinator hands out work without loading torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ncf.protocol.metrics import Objective
from ncf.protocol.ranks import Sample

if TYPE_CHECKING:
    from ncf.models.table import Setting


@dataclass(frozen=True)
class Task:
    """One trial to run.

    Attributes:
        number: The number that its reports and its outcome carry; a trial's number in its study.
        setting: The setting to train, of any model.
        seed: The seed of all its randomness.
        epochs: The most epochs to train.
        patience: The number of epochs without a better objective after which it stops.
        objective: The validation metric by which epochs are compared.
        device: The device of the models that PyTorch trains.
        stop_below: Entry e - 1 is the best objective so far below which it stops after epoch e.
        weights: The file to write the best epoch's weights to; None where they are not needed.
        beside: The file of the model that a mixture is of; None where it is none.
        sample: The users for whom it ranks the full catalogue; None means all of them at the end,
            and as many as a sample has where an epoch is judged so.
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
    beside: Path | None = None
    sample: Sample | None = None


@dataclass(frozen=True)
class Refit:
    """A setting to train on train and validation together, once nothing is left to choose.

    All its epochs are trained, and its outcome has no metrics. The attributes are those of `Task`.
    """

    number: int
    setting: Setting
    seed: np.random.SeedSequence
    epochs: int
    device: str
    weights: Path
    beside: Path | None = None


@dataclass(frozen=True)
class EpochReport:
    """The result of one epoch of a trial.

    Attributes:
        number: The trial's number.
        epoch: The epoch, counted from 1.
        time: When the epoch ended, in seconds since 1970.
        loss: The mean loss over the epoch's samples.
        seconds: Seconds of training, without the evaluation.
        n_samples: The number of user-item pairs that were trained on.
        metrics: The validation metrics on the sampled candidates; where the objective is one over
            the full catalogue, also those, under names that begin with "full_".
    """

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
        epochs: The number of epochs trained.
        best_epoch: The epoch of the best objective, whose weights are in `Task.weights`.
        metrics: The validation metrics of the best epoch, as in its report.
        metrics_full: The same metrics over the full catalogue, for the users of `Task.sample`.
        seconds: The wall time of the trial.
        time: When it ended, in seconds since 1970.
        processor_seconds: The time of the processor that it took, over all threads of the worker;
            0 in records that were made before it was kept.
    """

    number: int
    pruned: bool
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    metrics_full: dict[str, float]
    seconds: float
    time: float
    processor_seconds: float = 0.0


@dataclass(frozen=True)
class Failure:
    """A trial that raised an error, or whose worker died.

    Attributes:
        number: The trial's number.
        reason: The error in one line.
        traceback: The error's traceback; empty where the worker died.
        died: Whether the worker died, which need not be the trial's fault.
    """

    number: int
    reason: str
    traceback: str = ""
    died: bool = False


@dataclass(frozen=True)
class Setback:
    """A task that was not carried out for a reason that is the machine's and not the task's own.

    A file could not be written, or a worker could not start or gave no sign of life. This is no
    outcome: the task is to be tried again, and nothing of it is recorded.

    Attributes:
        number: The task's number.
        reason: The error in one line.
        traceback: The error's traceback; empty where the worker told of none.
    """

    number: int
    reason: str
    traceback: str = ""


Event = EpochReport | Outcome | Failure | Setback
"""What is told of a task."""
