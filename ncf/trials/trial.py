"""One trial: train, evaluate on validation after each epoch, stop, keep the best epoch's model.

A trial is given a `TrialData` and a `Task`, a refit a `TrialData` and a `Refit`. None of these
holds the test split.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import save

from ncf.data.files import write_whole
from ncf.models.model import Epoch
from ncf.models.table import epochs_of, fit
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import full_ranks, sampled_ranks
from ncf.serving.scorers import for_use, load_scorer
from ncf.trials.data import TrialData
from ncf.trials.messages import EpochReport, Outcome, Refit, Task

_PATIENCE = 30.0  # seconds for a folder that cannot be written; less than training again may take


def run(task: Task, data: TrialData) -> Iterator[EpochReport | Outcome]:
    """Yields a report after every epoch, and the outcome at the end.

    Raises:
        FloatingPointError: The trial diverged: its loss is not finite.
    """
    start = time.perf_counter()
    n_epochs = epochs_of(task.setting, task.epochs)
    best, best_epoch, pruned = -math.inf, 0, False
    best_metrics: dict[str, float] = {}
    best_arrays: dict[str, NDArray[Any]] = {}
    for epoch in fit(
        data.train,
        task.setting,
        epochs=task.epochs,
        seed=task.seed,
        device=task.device,
        starts=data.starts,
    ):
        _check_loss(epoch)
        ranks = sampled_ranks(epoch.scorer, data.validation.users, data.candidates)
        metrics = summarize(ranks, task.objective.k, data.validation.users)
        value = task.objective.value(metrics)
        yield EpochReport(
            task.number,
            epoch.epoch,
            time.time(),
            epoch.loss,
            epoch.seconds,
            epoch.n_samples,
            metrics,
        )
        if value > best:
            best, best_epoch, best_metrics = value, epoch.epoch, metrics
            best_arrays = {name: array.copy() for name, array in epoch.scorer.arrays().items()}
        is_done = epoch.epoch == n_epochs or epoch.epoch - best_epoch >= task.patience
        pruned = not is_done and best < task.stop_below[epoch.epoch - 1]
        if is_done or pruned:
            break
    scorer = load_scorer(best_arrays)
    ranks = full_ranks(scorer, data.validation, data.seen)
    metrics_full = summarize(ranks, task.objective.k, data.validation.users)
    _keep(best_arrays, task.weights)
    yield Outcome(
        task.number,
        pruned,
        epoch.epoch,
        best_epoch,
        best_metrics,
        metrics_full,
        time.perf_counter() - start,
        time.time(),
    )


def refit(task: Refit, data: TrialData) -> Outcome:
    """Trains on train and validation for all epochs, and writes the last one's model for use.

    Raises:
        FloatingPointError: The training diverged: its loss is not finite.
    """
    start = time.perf_counter()
    for epoch in fit(
        data.until_test,
        task.setting,
        epochs=task.epochs,
        seed=task.seed,
        device=task.device,
    ):
        _check_loss(epoch)
    _keep(for_use(epoch.scorer).arrays(), task.weights)
    seconds = time.perf_counter() - start
    return Outcome(task.number, False, epoch.epoch, epoch.epoch, {}, {}, seconds, time.time())


def _keep(arrays: dict[str, NDArray[Any]], path: Path | None) -> None:
    """Writes a scorer's arrays to `path`, whole or not at all; does nothing where it is None."""
    if path is not None:
        write_whole(path, save(arrays), otherwise=_PATIENCE)


def _check_loss(epoch: Epoch) -> None:
    if not math.isfinite(epoch.loss):
        raise FloatingPointError(
            f"diverged: the loss of epoch {epoch.epoch} is {epoch.loss}; "
            "a lower learning rate would help"
        )
