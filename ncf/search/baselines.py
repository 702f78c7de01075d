"""What the winner is held against: simple models, tuned by the same coordinator.

A baseline is a model of one epoch. It is searched over its own space, in a record of its own
beside the study's, on the same split and candidates, with as many settings as the study has trials
(and at least 20), or fewer where each takes minutes for so many items: the same budget for all, and
the same result on a machine that does other work.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna

from ncf.models import table
from ncf.models.table import MODELS
from ncf.protocol.seeds import Purpose, spawn_int
from ncf.search import journal
from ncf.search.coordinator import Coordinator, Event, Space
from ncf.search.plan import Plan
from ncf.search.proposals import describe_space
from ncf.search.results import Contestant
from ncf.trials.workers import Workers

FEWEST = 20  # settings of a baseline that has any hyperparameters
_logger = logging.getLogger(__name__)


def that_fit(names: Sequence[str], plan: Plan) -> tuple[str, ...]:
    """Returns the baselines that can be fitted on data of this size; the log says why others not.

    Args:
        names: Names in the table of models.
        plan: Has the data.
    """
    fitting = []
    for name in names:
        try:
            if (check_size := MODELS[name].check_size) is not None:
                check_size(plan.split.train_and_validation)
            fitting.append(name)
        except ValueError as error:  # the search is worth its results without it
            _logger.warning("%s", error)
    return tuple(fitting)


def tune(
    name: str, study: optuna.Study, plan: Plan, workers: Workers
) -> Generator[tuple[int, Event], None, None]:
    """Tunes a baseline, as far as its record lacks it.

    Args:
        name: The baseline's name in the table of models.
        study: The study that it is held against.
        plan: Makes the tasks, and knows how many trials the study has.
        workers: Who trains.

    Yields:
        How many settings are tried in all, and what happens.
    """
    if name in study.user_attrs.get("baselines", {}):
        return  # tuned by a version that kept it with the study
    record = record_of(name, study)
    model = MODELS[name]
    index = [one for one in MODELS if one != "gmf"].index(name)
    seed = spawn_int(plan.settings.seed, Purpose.BASELINE, index)
    n_settings = max(FEWEST, plan.settings.n_trials) if describe_space(model.space) else 1
    if model.most_settings is not None:
        n_settings = min(n_settings, model.most_settings(plan.split.train.n_items))
    space = Space(name, model.defaults, model.space, seed, n_settings)
    try:
        for event in Coordinator(record, space, plan).run(workers):
            yield n_settings, event
    except RuntimeError as error:  # the search is worth its results without it
        _logger.warning("%s: %s", name, error)


def contestant(name: str, study: optuna.Study) -> Contestant | None:
    """Returns the best setting of a tuned baseline; None where none could be fitted."""
    if (before := study.user_attrs.get("baselines", {}).get(name)) is not None:
        return _as_recorded_before(name, before)
    trials = record_of(name, study).get_trials(deepcopy=False)
    ranking = journal.best_first(trials)
    if not ranking:
        return None
    n_trained = sum(map(journal.is_trained, trials))
    settings = "1 setting" if n_trained == 1 else f"{n_trained} settings"
    note = f"{settings} in {journal.seconds_of(trials):.0f} s of worker time"
    return replace(journal.contestant_of(ranking[0], 0, note), name=name, n_settings=n_trained)


def record_of(name: str, study: optuna.Study) -> optuna.Study:
    """Returns the record of a baseline, which lies beside the study's in the same storage."""
    return optuna.create_study(
        storage=study._storage,
        study_name=f"{study.study_name}/{name}",
        direction="maximize",
        load_if_exists=True,
    )


def _as_recorded_before(name: str, before: Mapping[str, Any]) -> Contestant:
    """Returns a baseline of a study that was tuned when baselines had no record of their own."""
    setting, metrics = before["setting"], before["outcome"]["metrics"]
    note = f"{before['n_trials']} settings in {before['seconds']:.0f} s of worker time"
    found = table.setting_of(name, setting)
    return Contestant(name, 0, found, setting, 0, metrics, note, before["n_trials"])
