"""Trials whose weights are gone, trained again to the same weights.

A trial's seed depends on its number alone. Trained for as many epochs as it had, without anything
that stops it earlier, it comes out as it did, bit for bit on one machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from optuna.trial import FrozenTrial

from ncf.protocol.seeds import Purpose, spawn
from ncf.study import journal
from ncf.study.plan import Plan
from ncf.trials.messages import Failure, Outcome, Task
from ncf.trials.workers import Workers, run_tasks

_logger = logging.getLogger(__name__)


def train_again(
    trials: Sequence[FrozenTrial],
    plan: Plan,
    workers: Workers,
    weights: Callable[[int], Path],
    is_stopped: Callable[[], bool],
) -> Iterator[int]:
    """Trains trials of the record again for their weights, and yields the number of each.

    What does not come out as it was recorded, as on another machine, is told by a warning, and its
    weights are removed.

    Args:
        trials: The trials, which finished or were pruned.
        plan: The plan of the study.
        workers: The workers that train.
        weights: Returns the file for a trial's weights.
        is_stopped: Returns whether to stop as soon as each running trial has ended its epoch.
    """
    recorded = {trial.number: journal.outcome_of(trial) for trial in trials}
    tasks = iter(
        [_task(plan, trial, recorded[trial.number], weights(trial.number)) for trial in trials]
    )
    for event in run_tasks(workers, lambda: next(tasks, None), is_stopped):
        if not isinstance(event, Outcome | Failure):
            continue
        if isinstance(event, Failure) or event.metrics != recorded[event.number].metrics:
            _logger.warning(
                "trial %d did not come out again as it is recorded: MLflow gets no model of it",
                event.number,
            )
            weights(event.number).unlink(missing_ok=True)
        yield event.number


def _task(plan: Plan, trial: FrozenTrial, outcome: Outcome, weights: Path) -> Task:
    experiment = replace(plan.experiment, epochs=outcome.epochs, patience=outcome.epochs)
    seed = spawn(plan.settings.seed, Purpose.TRIAL, trial.number)
    setting = journal.setting_of(trial)
    return replace(plan, experiment=experiment).task(trial.number, setting, seed, weights)
