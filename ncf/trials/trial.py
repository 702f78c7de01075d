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
from ncf.protocol.metrics import FULL, Objective, summarize
from ncf.protocol.ranks import Scorer, full_ranks, sampled_ranks, some_users
from ncf.protocol.splitting import HeldOut
from ncf.serving.scorers import for_use, load_scorer
from ncf.trials.data import TrialData
from ncf.trials.messages import EpochReport, Outcome, Refit, Task

_PATIENCE = 30.0  # seconds for a folder that cannot be written; less than training again may take


def run(task: Task, data: TrialData) -> Iterator[EpochReport | Outcome]:
    """Yields a report after every epoch, and the outcome at the end.

    Raises:
        FloatingPointError: The trial diverged: its loss is not finite.
    """
    start, processor_start = time.perf_counter(), time.process_time()
    n_epochs = epochs_of(task.setting, task.epochs)
    best, best_epoch, pruned = -math.inf, 0, False
    best_metrics: dict[str, float] = {}
    best_arrays: dict[str, NDArray[Any]] = {}
    judges, at_end = _ranked_in_full(task, data)
    for epoch in fit(
        data.train,
        task.setting,
        epochs=task.epochs,
        seed=task.seed,
        device=task.device,
        starts=data.starts,
        beside=task.beside,
    ):
        _check_loss(epoch)
        metrics = _judge(epoch.scorer, data, judges, task.objective)
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
    ranks = full_ranks(scorer, at_end, data.seen)
    metrics_full = summarize(ranks, task.objective.k, at_end.users)
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
        time.process_time() - processor_start,
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
        beside=task.beside,
    ):
        _check_loss(epoch)
    _keep(for_use(epoch.scorer).arrays(), task.weights)
    seconds = time.perf_counter() - start
    return Outcome(task.number, False, epoch.epoch, epoch.epoch, {}, {}, seconds, time.time())


def _ranked_in_full(task: Task, data: TrialData) -> tuple[HeldOut, HeldOut]:
    """Returns the items that are ranked among the full catalogue after an epoch and at the end."""
    if task.sample is None:
        return data.some, data.validation
    some = some_users(data.validation, task.sample.n_users, task.sample.seed)
    return some, some


def _judge(
    scorer: Scorer, data: TrialData, judges: HeldOut, objective: Objective
) -> dict[str, float]:
    """Returns the validation metrics that an epoch is judged by.

    Over the full catalogue these are means over the users of `judges`, always the same.
    """
    ranks = sampled_ranks(scorer, data.validation.users, data.candidates)
    metrics = summarize(ranks, objective.k, data.validation.users)
    if objective.is_full:
        ranks = full_ranks(scorer, judges, data.seen)
        full = summarize(ranks, objective.k, judges.users)
        metrics |= {f"{FULL}{name}": value for name, value in full.items()}
    return metrics


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
