"""Confirmation: the best trials are trained again with fresh seeds, and the best mean wins.

The maximum of many noisy values is too high, so the best trial of a search may only have been
lucky. A fresh seed changes the training; the split and the candidates stay the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna

from ncf.protocol.seeds import Purpose, spawn
from ncf.study import journal
from ncf.study.plan import Plan
from ncf.study.results import Confirmed, Contestant, counted
from ncf.trials.messages import Failure, Outcome, Task
from ncf.trials.workers import Workers, run_tasks

_logger = logging.getLogger(__name__)


def confirm(
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    n_trials: int,
    n_seeds: int,
    weights: Callable[[int, int], Path] | None = None,
    beside: Callable[[int], Path] | None = None,
) -> list[Confirmed]:
    """Trains the best trials again, as far as the study has not recorded it yet.

    Args:
        study: The study, where each outcome is recorded.
        plan: The plan of the study, which makes the tasks.
        workers: The workers that train.
        n_trials: The number of best trials to confirm.
        n_seeds: The number of fresh seeds for each of them.
        weights: Returns the file for the weights of a trial's number and the index of a seed; None
            where they are not needed.
        beside: Returns the file of the model that a mixture is of, by the index of a seed; None
            where the trials are no mixtures.

    Returns:
        The confirmed trials, the best mean first, and of equal means the earlier trial first.
    """
    ranking = journal.best_first(study.get_trials(deepcopy=False))[:n_trials]
    done: dict[str, dict[str, Any]] = dict(study.user_attrs.get("confirmation", {}))
    outcomes_of = {trial.number: done.setdefault(str(trial.number), {}) for trial in ranking}
    missing = [
        (trial, index)
        for trial in ranking
        for index in range(n_seeds)
        if str(index) not in outcomes_of[trial.number]
    ]

    def task_of(position: int) -> Task:
        trial, index = missing[position]
        seed = spawn(plan.settings.seed, Purpose.CONFIRMATION, trial.number * 1000 + index)
        file = None if weights is None else weights(trial.number, index)
        other = None if beside is None else beside(index)
        return plan.task(position, journal.setting_of(trial), seed, file, beside=other)

    tasks = map(task_of, range(len(missing)))
    for event in run_tasks(workers, lambda: next(tasks, None), what="confirmation"):
        if isinstance(event, Failure):
            trial, index = missing[event.number]
            _logger.warning("trial %d, seed %d: %s", trial.number, index, event.reason)
        elif isinstance(event, Outcome):
            trial, index = missing[event.number]
            outcomes_of[trial.number][str(index)] = asdict(event)
            study.set_user_attr("confirmation", done)
    return confirmed_of(study, plan, n_trials)


def confirmed_of(study: optuna.Study, plan: Plan, n_trials: int) -> list[Confirmed]:
    """Returns the confirmed ones of the best trials as `confirm` does, and trains nothing."""
    done: dict[str, dict[str, Any]] = study.user_attrs.get("confirmation", {})
    confirmed = []
    for trial in journal.best_first(study.get_trials(deepcopy=False))[:n_trials]:
        recorded = done.get(str(trial.number), {})
        outcomes = tuple(Outcome(**recorded[index]) for index in sorted(recorded, key=int))
        if outcomes:
            values = tuple(plan.settings.objective.value(one.metrics) for one in outcomes)
            setting = journal.setting_of(trial)
            confirmed.append(Confirmed(trial.number, setting, outcomes, values))
    return sorted(confirmed, key=lambda one: (-one.mean, one.number))


def choose(study: optuna.Study, confirmed: list[Confirmed]) -> Contestant:
    """Returns the winner: the best confirmed trial, or the best trial where none is confirmed.

    Raises:
        RuntimeError: No trial has finished.
    """
    trials = study.get_trials(deepcopy=False)
    ranking = journal.best_first(trials)
    if not ranking:
        raise RuntimeError(
            f"study {study.study_name!r} has no finished trial: give it more --trials"
        )
    best = trials[confirmed[0].number] if confirmed else ranking[0]
    outcome = journal.outcome_of(best)
    note = f"trial {best.number}"
    epochs = outcome.best_epoch
    values: tuple[float, ...] = ()
    if confirmed:
        note += f", confirmed by {counted(len(confirmed[0].values), 'seed')}"
        epochs, values = confirmed[0].best_epoch, confirmed[0].values
    n_settings = sum(map(journal.is_trained, trials))
    contestant = journal.contestant_of(best, epochs, note)
    return replace(contestant, n_settings=n_settings, seed_values=values)
