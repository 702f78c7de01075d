"""The mixture of a study's best trial with Markov counts, as a contestant of its own.

It is tuned with the model of the best trial as it was trained in the search, and confirmed with the
models of the same setting by fresh seeds. Its record lies beside the study's, one for each trial
that has been the best.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna

from ncf.models.markov import MarkovHyperparameters
from ncf.models.mixture import MixtureHyperparameters, with_counts
from ncf.models.table import BASELINES, MODELS
from ncf.protocol.seeds import Purpose, spawn, spawn_int
from ncf.study import baselines, journal
from ncf.study.confirmation import choose, confirm, confirmed_of
from ncf.study.coordinator import Coordinator, Event, Space
from ncf.study.plan import Plan
from ncf.study.results import Contestant, counted
from ncf.trials.messages import Failure, Task
from ncf.trials.workers import Workers, run_tasks

NAME = "mixture"
_DONE = "done"
_logger = logging.getLogger(__name__)


def weights_of(folder: Path, number: int, index: int) -> Path:
    """Returns the file of a trial's model by a fresh seed; index -1 is the seed of the search."""
    return folder / f"beside-{number}-{index + 1}.safetensors"


def tune(
    best_trial: Contestant,
    counts: Contestant | None,
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    folder: Path,
    n_trials: int,
) -> Generator[Event, None, None]:
    """Tries the settings of the mixture, trains the best again, and yields what happens.

    Args:
        best_trial: The best trial of the study.
        counts: The best setting of Markov counts alone, from which the search begins; None where
            there is none.
        study: The study.
        plan: The plan of the study, which makes the tasks.
        workers: The workers that train.
        folder: The study's folder, where models of the best trial may lie.
        n_trials: How many of the best settings are confirmed, where the best trial is: by as many
            fresh seeds as it. What the record has from an earlier call is not forgotten.
    """
    record = record_of(best_trial, study)
    n_seeds = len(best_trial.seed_values)
    done: list[int] | None = record.user_attrs.get(_DONE)
    before = done or [0, 0]
    wanted = [max(n_trials if n_seeds else 0, before[0]), max(n_seeds, before[1])]
    if done != wanted:
        try:
            yield from _tune(record, best_trial, counts, plan, workers, folder, *wanted)
        except RuntimeError as error:  # the results of the search are of use without the mixture
            _logger.warning("%s: %s", NAME, error)
    for file in folder.glob("beside-*"):
        file.unlink()


def _tune(
    record: optuna.Study,
    best_trial: Contestant,
    counts: Contestant | None,
    plan: Plan,
    workers: Workers,
    folder: Path,
    n_trials: int,
    n_seeds: int,
) -> Generator[Event, None, None]:
    """Tries and confirms the settings that the record lacks, and notes that it has all."""
    defaults = MixtureHyperparameters()
    if counts is not None and isinstance(counts.setting, MarkovHyperparameters):
        defaults = with_counts(counts.setting)
    seed = spawn_int(plan.settings.seed, Purpose.BASELINE, BASELINES.index(NAME))
    n_settings = baselines.n_settings_of(NAME, plan)
    beside = weights_of(folder, best_trial.number, -1)
    space = Space(NAME, defaults, MODELS[NAME].space, seed, n_settings, beside=beside)
    _fit_beside(best_trial, plan, workers, folder, n_seeds)
    yield from Coordinator(record, space, plan).run(workers)
    fresh = partial(weights_of, folder, best_trial.number)
    confirm(record, plan, workers, n_trials, n_seeds, beside=fresh)
    record.set_user_attr(_DONE, [n_trials, n_seeds])


def contestant(best_trial: Contestant, study: optuna.Study, plan: Plan) -> Contestant | None:
    """Returns the best setting of the tuned mixture, judged by fresh seeds where the best trial is.

    It is None where none could be fitted, and so where the best trial has fresh seeds and the
    mixture none: one seed that may be lucky is not held against a mean.
    """
    record = record_of(best_trial, study)
    if _DONE not in record.user_attrs:
        return None
    n_trials, _ = record.user_attrs[_DONE]
    confirmed = confirmed_of(record, plan, n_trials) if best_trial.seed_values else []
    if best_trial.seed_values and not confirmed:
        return None
    best = choose(record, confirmed)
    seconds = journal.seconds_of(record.get_trials(deepcopy=False))
    note = (
        f"{best_trial.name} trial {best_trial.number} with Markov counts, "
        f"{counted(best.n_settings, 'setting')} in {seconds:.0f} s of worker time"
    )
    return replace(best, name=NAME, epochs=0, note=note, is_trial=False)


def record_of(best_trial: Contestant, study: optuna.Study) -> optuna.Study:
    """Returns the record of the mixtures with a best trial."""
    return baselines.record_of(f"{NAME}-{best_trial.number}", study)


def _fit_beside(
    best_trial: Contestant, plan: Plan, workers: Workers, folder: Path, n_seeds: int
) -> None:
    """Trains the best trial for each seed of which the model is not there.

    Raises:
        RuntimeError: A training failed.
    """
    number = best_trial.number
    seeds = {-1: spawn(plan.settings.seed, Purpose.TRIAL, number)}
    for index in range(n_seeds):
        seeds[index] = spawn(plan.settings.seed, Purpose.CONFIRMATION, number * 1000 + index)
    missing = [index for index in seeds if not weights_of(folder, number, index).exists()]

    def task_of(place: int) -> Task:
        file = weights_of(folder, number, missing[place])
        return plan.task(place, best_trial.setting, seeds[missing[place]], file)

    tasks = map(task_of, range(len(missing)))
    for event in run_tasks(workers, lambda: next(tasks, None), what="training again"):
        if isinstance(event, Failure):
            raise RuntimeError(f"trial {number} could not be trained again: {event.reason}")
