"""The baselines that the winner is held against: simple models, tuned by the same coordinator.

A baseline is a model of one epoch. It is searched over its own space, in a record of its own
beside the study's, on the same split and candidates. It is tried with as many settings as the study
has trials, and at least 20; or with fewer, where each takes minutes for so many items, or for so
many interactions of a large set, so that tuning takes no longer than the trials do. A budget of
settings, unlike one of seconds, gives the same result on a machine that is busy with other work.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna

from ncf.models import table
from ncf.models.table import BASELINES, MODELS
from ncf.protocol.seeds import Purpose, spawn_int
from ncf.study import journal
from ncf.study.coordinator import Coordinator, Event, Space
from ncf.study.plan import Plan
from ncf.study.proposals import describe_space
from ncf.study.results import Contestant, counted
from ncf.trials.workers import Workers

FEWEST = 20  # settings that are tried of a baseline with hyperparameters
_logger = logging.getLogger(__name__)


def that_fit(names: Sequence[str], plan: Plan) -> tuple[str, ...]:
    """Returns the baselines that can be fitted on data of this size; logs why others cannot.

    Args:
        names: The names of baselines in the table of models.
        plan: The plan of the study, which has the data.
    """
    fitting, reasons = list[str](), list[str]()
    history = plan.split.train_and_validation
    for name in names:
        try:
            if (check_size := MODELS[name].check_size) is not None:
                check_size(history)
            fitting.append(name)
        except ValueError as error:  # the search is worth its results without it
            reasons.append(str(error))
    for reason in dict.fromkeys(reasons):  # Markov counts and their mixture have the same
        _logger.warning("%s", reason)
    return tuple(fitting)


def left_from_before(study: optuna.Study, asked: Sequence[str]) -> list[str]:
    """Returns the names of what an earlier contest of the study had beside what is asked for.

    They stay in the contest: test has been read of them, and one of them may be better.
    """
    return [name for name in _names_before(study) if name in BASELINES and name not in asked]


def as_before(study: optuna.Study, contestants: Sequence[Contestant]) -> list[Contestant]:
    """Returns contestants in the order of the study's earlier contest, and then the new ones."""
    names = _names_before(study)
    return sorted(contestants, key=lambda one: [*names, one.name].index(one.name))


def _names_before(study: optuna.Study) -> list[str]:
    """Returns the names of the contestants of the study's earlier contest, if there was one."""
    results = study.user_attrs.get("conclusion", {}).get("results", [])
    return [str(result["name"]) for result in results]


def tune(
    name: str, study: optuna.Study, plan: Plan, workers: Workers
) -> Generator[Event, None, None]:
    """Tries the settings of a baseline that its record lacks, and yields what happens.

    Args:
        name: The baseline's name in the table of models.
        study: The study that it is held against.
        plan: The plan of the study, which makes the tasks.
        workers: The workers that train.
    """
    if name in study.user_attrs.get("baselines", {}):
        return  # it was tuned by an older version, which kept it with the study
    model = MODELS[name]
    seed = spawn_int(plan.settings.seed, Purpose.BASELINE, BASELINES.index(name))
    space = Space(model.title, model.defaults, model.space, seed, n_settings_of(name, plan))
    try:
        yield from Coordinator(record_of(name, study), space, plan).run(workers)
    except RuntimeError as error:  # the results of the search are of use without this baseline
        _logger.warning("%s: %s", model.title, error)


def n_settings_of(name: str, plan: Plan) -> int:
    """Returns how many settings of a baseline are tried in all."""
    model = MODELS[name]
    n_settings = max(FEWEST, plan.settings.n_trials) if describe_space(model.space) else 1
    if model.most_settings is not None:
        n_settings = min(n_settings, model.most_settings(plan.split.train.n_items))
    if model.most_settings_of_large is not None and plan.sample is not None:
        n_settings = min(n_settings, model.most_settings_of_large(plan.split.train))
    return n_settings


def contestant(name: str, study: optuna.Study) -> Contestant | None:
    """Returns the best setting of a tuned baseline; None where no setting could be fitted."""
    if (before := study.user_attrs.get("baselines", {}).get(name)) is not None:
        return _of_old_record(name, before)
    trials = record_of(name, study).get_trials(deepcopy=False)
    ranking = journal.best_first(trials)
    if not ranking:
        return None
    n_trained = sum(map(journal.is_trained, trials))
    note = f"{counted(n_trained, 'setting')} in {journal.seconds_of(trials):.0f} s of worker time"
    found = journal.contestant_of(ranking[0], 0, note)
    return replace(found, name=name, n_settings=n_trained, is_trial=False)


def record_of(name: str, study: optuna.Study) -> optuna.Study:
    """Returns the record of a baseline, which lies beside the study's in the same storage."""
    return optuna.create_study(
        storage=study._storage,
        study_name=f"{study.study_name}/{name}",
        direction="maximize",
        load_if_exists=True,
    )


def _of_old_record(name: str, before: Mapping[str, Any]) -> Contestant:
    """Returns a baseline that was tuned when baselines had no record of their own."""
    setting = before["setting"]
    metrics = before["outcome"]["metrics"]
    note = f"{counted(before['n_trials'], 'setting')} in {before['seconds']:.0f} s of worker time"
    found = table.setting_of(name, setting)
    n_settings = before["n_trials"]
    return Contestant(name, 0, found, setting, 0, metrics, note, n_settings, is_trial=False)
