"""Is the best trial the best? The best few are trained again with fresh seeds.

A search crowns lucky trials: the maximum of many noisy values is too high. So the best few are
trained on train again, judged on validation, and the best mean wins.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from typing import Any

import optuna

from ncf.protocol.seeds import Purpose, spawn
from ncf.search import journal
from ncf.search.plan import Plan
from ncf.search.results import Confirmed, Contestant
from ncf.trials.messages import Failure, Outcome, Task
from ncf.trials.workers import Workers, run_tasks

_logger = logging.getLogger(__name__)


def confirm(
    study: optuna.Study, plan: Plan, workers: Workers, n_trials: int, n_seeds: int
) -> list[Confirmed]:
    """Trains the best trials again; what was confirmed before is taken from the study.

    Returns:
        The confirmed trials, the best mean first; the earlier of equals first.
    """
    ranking = journal.best_first(study.get_trials(deepcopy=False))[:n_trials]
    done: dict[str, dict[str, Any]] = dict(study.user_attrs.get("confirmation", {}))
    seeds_of = {trial.number: done.setdefault(str(trial.number), {}) for trial in ranking}
    missing = [
        (trial, index)
        for trial in ranking
        for index in range(n_seeds)
        if str(index) not in seeds_of[trial.number]
    ]

    def task_of(position: int) -> Task:
        trial, index = missing[position]
        seed = spawn(plan.settings.seed, Purpose.CONFIRMATION, trial.number * 1000 + index)
        return plan.task(position, journal.setting_of(trial), seed)

    tasks = map(task_of, range(len(missing)))
    for event in run_tasks(workers, lambda: next(tasks, None), what="confirmation"):
        if isinstance(event, Failure):
            trial, index = missing[event.number]
            _logger.warning("trial %d, seed %d: %s", trial.number, index, event.reason)
        elif isinstance(event, Outcome):
            trial, index = missing[event.number]
            seeds_of[trial.number][str(index)] = asdict(event)
            study.set_user_attr("confirmation", done)
    confirmed = []
    for trial in ranking:
        of_seeds = seeds_of[trial.number]
        outcomes = tuple(Outcome(**of_seeds[index]) for index in sorted(of_seeds, key=int))
        if outcomes:
            values = tuple(plan.settings.objective.value(one.metrics) for one in outcomes)
            setting = journal.setting_of(trial)
            confirmed.append(Confirmed(trial.number, setting, outcomes, values))
    return sorted(confirmed, key=lambda one: (-one.mean, one.number))


def choose(study: optuna.Study, confirmed: list[Confirmed]) -> Contestant:
    """Returns the winner: the best confirmed trial, or without any the best trial.

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
    note, epochs = f"trial {best.number}", outcome.best_epoch
    if confirmed:
        note += f", confirmed by {len(confirmed[0].values)} seeds"
        epochs = confirmed[0].best_epoch
    n_settings = sum(map(journal.is_trained, trials))
    return replace(journal.contestant_of(best, epochs, note), n_settings=n_settings)
