"""A study's durable record: an Optuna study, the source of truth that MLflow mirrors.

An Optuna trial holds all that is known of a finished trial: its parameters, the objective after
each epoch as intermediate values, and its epoch reports and outcome as user attributes. A trial
that a killed process left running is trained again under the same number, and so with the same
seed.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ncf.data.files import RESULTS
from ncf.models import table
from ncf.models.table import Setting
from ncf.study.results import Contestant
from ncf.study.storage import open_existing
from ncf.trials.messages import EpochReport, Failure, Outcome

_logger = logging.getLogger(__name__)
_IDENTITY = "identity"


def open_study(storage: BaseStorage, name: str, identity: Mapping[str, Any]) -> optuna.Study:
    """Creates the study, or opens the one of this name.

    Args:
        storage: Where studies are recorded.
        name: The study's name.
        identity: All that must be equal for trials to be comparable: data, protocol, space, seed.

    Raises:
        ValueError: The study has another identity, whose differences the message names, or
            another program has made it.
    """
    study = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )
    recorded = study.user_attrs.get(_IDENTITY)
    is_new = not study.get_trials(deepcopy=False) and {*study.user_attrs} <= {"id"}
    if study.directions != [StudyDirection.MAXIMIZE] or (recorded is None and not is_new):
        raise ValueError(
            f"--storage has a study {name!r} that another program has made; begin another with "
            "--study NAME, or give another file"
        )
    if recorded is None:
        study.set_user_attr("id", uuid.uuid4().hex)  # names alone are not unique across stores
        study.set_user_attr(_IDENTITY, dict(identity))
    elif differences := _differences(_in_new_names(recorded), identity):
        raise ValueError(
            f"study {name!r} was begun with other settings: {'; '.join(differences)}. Use those "
            "again, or begin another study with --study NAME"
        )
    return study


def identity_of(storage: BaseStorage, name: str) -> dict[str, Any] | None:
    """Returns the identity that a study recorded as it began; None where there is none."""
    known = {study.study_name: study._study_id for study in storage.get_all_studies()}
    attributes = storage.get_study_user_attrs(known[name]) if name in known else {}
    return attributes.get(_IDENTITY)


def load_study(name: str, location: str | None = None) -> optuna.Study:
    """Opens a study that exists, to read it.

    Args:
        name: The study's name; the record of a baseline has "STUDY/BASELINE".
        location: Where studies are recorded; None means mlruns/optuna.journal.

    Raises:
        ValueError: There is no such record or no such study; the message names those there are.
    """
    location = location or str(RESULTS / "optuna.journal")
    storage = open_existing(location)
    known = [one.study_name for one in storage.get_all_studies()]
    if name not in known:
        names = ", ".join(one for one in known if "/" not in one)
        raise ValueError(f"{location}: no study {name!r}; it has {names or 'none yet'}")
    return optuna.load_study(study_name=name, storage=storage)


def add(study: optuna.Study, proposal: FrozenTrial) -> FrozenTrial:
    """Adds a trial to the record; returns it with its number there."""
    storage = study._storage  # of whose trials `Study` would read all again
    trial_id = storage.create_new_trial(study._study_id, template_trial=proposal)
    return storage.get_trial(trial_id)


def record_outcome(
    study: optuna.Study,
    trial: optuna.Trial,
    outcome: Outcome,
    reports: Sequence[EpochReport],
    value: float,
) -> FrozenTrial:
    """Ends a trial that was trained, and returns it as it is recorded.

    Its value is the objective of its best epoch; of a trial that was pruned, that of its last one.
    """
    state = TrialState.PRUNED if outcome.pruned else TrialState.COMPLETE
    return _end(study, trial, reports, {"outcome": asdict(outcome)}, state, [value])


def record_failure(
    study: optuna.Study, trial: optuna.Trial, failure: Failure, reports: Sequence[EpochReport]
) -> FrozenTrial:
    """Ends a trial that failed, and returns it as it is recorded."""
    return _end(study, trial, reports, {"failure": asdict(failure)}, TrialState.FAIL, None)


def _end(
    study: optuna.Study,
    trial: optuna.Trial,
    reports: Sequence[EpochReport],
    notes: Mapping[str, Any],
    state: TrialState,
    values: list[float] | None,
) -> FrozenTrial:
    """Records the notes of a trial and its end; a journal writes both together, at the end."""
    storage = study._storage  # `Study.tell` would have to read the notes before
    for key, note in {"epochs": [asdict(report) for report in reports], **notes}.items():
        storage.set_trial_user_attr(trial._trial_id, key, note)
    storage.set_trial_state_values(trial._trial_id, state, values)
    return storage.get_trial(trial._trial_id)


def reports_of(trial: FrozenTrial) -> list[EpochReport]:
    """Returns the epoch reports of an ended trial."""
    return [EpochReport(**report) for report in trial.user_attrs.get("epochs", [])]


def outcome_of(trial: FrozenTrial) -> Outcome:
    """Returns the outcome of a trial that finished or was pruned."""
    return Outcome(**trial.user_attrs["outcome"])


def failure_of(trial: FrozenTrial) -> Failure:
    """Returns why a trial failed."""
    return Failure(**trial.user_attrs["failure"])


def setting_of(trial: FrozenTrial) -> Setting:
    """Returns the setting of a recorded trial."""
    name = trial.user_attrs.get("model", "gmf")  # older records name none: there was no other model
    return table.setting_of(name, trial.user_attrs["hyperparameters"])


def contestant_of(trial: FrozenTrial, epochs: int, note: str) -> Contestant:
    """Returns the contestant that is made of a finished trial.

    Args:
        trial: The trial.
        epochs: The number of epochs to train it for.
        note: How it was found.
    """
    setting = setting_of(trial)
    title = table.model_of(setting).title
    recorded = trial.user_attrs["hyperparameters"]
    metrics = outcome_of(trial).metrics
    return Contestant(title, trial.number, setting, recorded, epochs, metrics, note)


def seconds_of(trials: Sequence[FrozenTrial]) -> float:
    """Returns the seconds of worker time that the trials took, less those of failed ones."""
    return sum(outcome_of(trial).seconds for trial in trials if is_trained(trial))


def is_trained(trial: FrozenTrial) -> bool:
    """Returns whether the trial finished or was pruned, so that it counts as one of the study's."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def best_first(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Returns the finished trials, the best value first, and of equal values the earlier first."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))


def _in_new_names(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an identity, perhaps of an older version, as it would be recorded today."""
    now = dict(identity)
    if "n_candidates" in now:
        now["n_sampled_negatives"] = now.pop("n_candidates")
    if "defaults" in now:
        name = now["defaults"].get("model", "gmf")
        now["defaults"] = asdict(table.setting_of(name, now["defaults"]))
    return now


def _differences(recorded: Mapping[str, Any], asked: Mapping[str, Any], of: str = "") -> list[str]:
    """Returns what differs, in what differs alone of mappings within the mappings."""
    differences = []
    for key in sorted({*recorded, *asked}):
        was, now = recorded.get(key), asked.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            differences += _differences(was, now, f"{of}{key}: ")
        elif was != now:
            differences.append(f"{of}{key} was {_in_words(was)}, now {_in_words(now)}")
    return differences


def _in_words(value: Any) -> str:
    """Returns a value of an identity, where it is a parameter's distributions in words."""
    try:
        return " or ".join(_range(json_to_distribution(text)) for text in value)
    except (ValueError, TypeError, LookupError):  # another value
        return repr(value)


def _range(distribution: BaseDistribution) -> str:
    """Returns the values of a distribution.

    >>> _range(optuna.distributions.IntDistribution(2, 12))
    '2 to 12'
    """
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {', '.join(map(repr, distribution.choices))}"
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    step = "" if distribution.step in (None, 1) else f" in steps of {distribution.step}"
    return f"{distribution.low} to {distribution.high}{step}{', log' if distribution.log else ''}"
