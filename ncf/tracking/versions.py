"""Versions of the registered model: made of a winner or of any trial, found, listed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ncf.models.table import Setting, describe, model_of, title
from ncf.protocol.metrics import label
from ncf.study.identity import objective_of
from ncf.tracking import next_steps, notes, registry
from ncf.tracking.paging import all_runs
from ncf.tracking.recorded import setting_of_run, was_trained
from ncf.tracking.tag_names import PARENT_TAG, STUDY_TAG, TRIAL_TAG
from ncf.tracking.tracker import Tracker

if TYPE_CHECKING:  # they need Optuna and numba, which take half a second to load
    from ncf.study.plan import Plan
    from ncf.study.results import Conclusion

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow's codes for a wrong name


def register_winner(
    tracker: Tracker, name: str, model_id: str, plan: Plan, conclusion: Conclusion
) -> ModelVersion:
    """Registers a study's winner.

    Args:
        tracker: Writes to MLflow.
        name: The name of the registered model.
        model_id: The id of the winner's logged model.
        plan: The plan of the study.
        conclusion: What the study ended with.
    """
    winner = conclusion.winner
    result = conclusion.results[0]
    values = result.test | {f"full_{metric}": value for metric, value in result.test_full.items()}
    tested = {
        f"test_{metric}": f"{values[metric]:.4f} [{low:.4f}, {high:.4f}]"
        for metric, (low, high) in result.intervals.items()
        if not metric.startswith("full_hit_ratio")
    }
    objective = plan.settings.objective
    tested.setdefault(f"test_{objective.name}", f"{objective.value(values):.4f}")
    fitted_on = "train + validation"
    value, is_confirmed = winner.value(objective), winner.is_confirmed
    seeds = {registry.SEEDS: str(len(winner.seed_values))} if winner.seed_values else {}
    number = str(winner.number) if winner.is_trial else f"{winner.number} of {title(winner.name)}"
    tags = {
        registry.OBJECTIVE + objective.name: f"{value:.6f}",
        **tested,
        **seeds,
        **tags_of(winner.setting, fitted_on, number, plan.study_name, plan.identity, is_confirmed),
    }
    of_metrics = (f"{label(metric)} {value:.4f}" for metric, value in result.test.items())
    test = f"{conclusion.reading}: {', '.join(of_metrics)}"
    validation = f"{objective.label} {value:.4f}"
    description = notes.describe_version(winner.setting, fitted_on, validation, test)
    client = tracker.client
    registry.make_whole(client, model_id)  # where an earlier version of this program has logged it
    return registry.register(client, name, model_id, tracker.parent, tags, description)


def register_run(client: MlflowClient, run_id: str, name: str | None) -> ModelVersion:
    """Registers the model of a trial's run, by default with the other versions of its data.

    Raises:
        ValueError: It is not the run of a trial, or has no model, or that is damaged.
    """
    run = run_of(client, run_id, f"{run_id}: no such run in this store")
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    ready = [model for model in models if model.status == LoggedModelStatus.READY]
    if TRIAL_TAG not in run.data.tags or not ready:
        raise ValueError(
            f"{run_id}: {run.info.run_name!r} has no trial's model; give the run id of a trial "
            "that finished or was pruned, and whose model was not deleted, as MLflow shows it"
        )
    identity = study_run(client, run).data.params
    setting = setting_of_run(run)
    objective = objective_of(identity)
    value = run.data.metrics[f"validation_best/{objective.name}"]
    fitted_on = "train"
    number = run.data.tags[TRIAL_TAG]
    study = run.data.tags[STUDY_TAG]
    tags = {
        registry.OBJECTIVE + objective.name: f"{value:.6f}",
        **tags_of(setting, fitted_on, number, study, identity, is_confirmed=False),
    }
    description = notes.describe_version(setting, fitted_on, f"{objective.label} {value:.4f}")
    name = name or f"gmf-{identity['data']}"
    registry.make_whole(client, ready[0].model_id)
    return registry.register(client, name, ready[0].model_id, run_id, tags, description)


def find(client: MlflowClient, text: str) -> ModelVersion:
    """Returns the version that a text names: `3`, `NAME/3` or `NAME@champion`.

    Raises:
        ValueError: It names no version, there is none of it, or several models could have the
            version `3`.
    """
    name, separator, version = text.removeprefix("models:/").rpartition("@" if "@" in text else "/")
    if not separator:
        names = [model.name for model in client.search_registered_models()]
        if text in names:
            raise ValueError(
                f"{text} is a model, and not a version: give {text}/VERSION, or "
                f"{text}@{registry.CHAMPION}; `{next_steps.command('models')}` lists them"
            )
        if not text.isdecimal():
            raise ValueError(
                f"{text}: neither a version, as NAME/3 or NAME@{registry.CHAMPION}, nor a model; "
                f"there are {', '.join(names) or 'no models yet'}"
            )
        if len(names) != 1:
            raise ValueError(f"{text}: give NAME/{text}, of {', '.join(names) or 'no models yet'}")
        name = names[0]
    try:
        if separator == "@":
            return client.get_model_version_by_alias(name, version)
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        raise ValueError(
            f"{text}: no such version: {error.message}; `{next_steps.command('models')}` lists them"
        ) from error


def study_run(client: MlflowClient, run: Run) -> Run:
    """Returns the study's run, given it or any other run of the study.

    Raises:
        ValueError: It was deleted.
    """
    study = run.data.tags.get(PARENT_TAG, str(run.info.run_id))
    missing = f"{run.info.run_id}: the run of its study, {study}, was deleted in MLflow"
    return run_of(client, study, f"{missing}; this needs what it had")


def run_id_of(client: MlflowClient, text: str) -> str:
    """Returns the id of the run that a text names: itself, or that of trial NUMBER, STUDY/NUMBER.

    Raises:
        ValueError: The store has no run of that trial.
    """
    study, separator, number = text.rpartition("/")
    if not separator:
        return text
    experiments = [one.experiment_id for one in client.search_experiments()]
    query = f"tags.`{TRIAL_TAG}` = '{number}'"
    runs = all_runs(client, experiments, query) if number.isdecimal() else []
    found = [run for run in runs if run.data.tags.get(STUDY_TAG) == study]
    if not found:
        raise ValueError(
            f"{text}: this store has no run of trial {number!r} of a study {study!r}; "
            "`python -m ncf trials` lists the trials"
        )
    return str(max(found, key=was_trained).info.run_id)


def run_of(client: MlflowClient, run_id: str, missing: str) -> Run:
    """Returns a run.

    Raises:
        ValueError: There is none; `missing` is what the error says.
    """
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        raise ValueError(missing) from error


def listed(client: MlflowClient) -> list[dict[str, str]]:
    """Returns a row for each version of each model of this project, the newest first."""
    rows = []
    of_model: dict[str, Mapping[str, Any]] = {}  # the version of each alias, by the model's name
    for version in client.search_model_versions(order_by=["creation_timestamp DESC"]):
        name, metric = version.name, registry.objective_tag(version)
        if metric is None:
            continue  # another project has made it
        if name not in of_model:  # to ask for each version would take longer
            of_model[name] = client.get_registered_model(name).aliases
        aliases = [one for one, v in of_model[name].items() if str(v) == str(version.version)]
        tags = version.tags
        objective = metric.removeprefix(registry.OBJECTIVE)
        made = time.gmtime(version.creation_timestamp / 1000)
        is_champion = registry.CHAMPION in aliases
        rows.append(
            {
                "version": f"{name}/{version.version}",
                "alias": ", ".join(aliases),
                "metric": label(objective),
                "validation": f"{float(tags[metric]):.4f}",
                "test": tags.get(f"test_{objective}", "not read"),
                "study": tags["study"],
                "trial": tags["trial"],
                "model": tags.get("model", "GMF"),
                "setting": tags["setting"],
                "registered (UTC)": time.strftime("%Y-%m-%d %H:%M", made),
                "champion since": tags.get(registry.SINCE, "") if is_champion else "",
            }
        )
    return rows


def tags_of(
    setting: Setting,
    fitted_on: str,
    number: str,
    study: str,
    identity: Mapping[str, Any],
    is_confirmed: bool,
) -> dict[str, str]:
    """Returns the tags that say what a version is, its results aside.

    Args:
        setting: The setting of its model.
        fitted_on: The parts of the data that it was fitted on.
        number: Which trial it is of, in words.
        study: The name of its study.
        identity: The identity of its study.
        is_confirmed: Whether its objective is a mean over fresh seeds, or has nothing random.
    """
    return {
        "model": model_of(setting).title,
        "setting": describe(setting),
        "fitted_on": fitted_on,
        "trial": number,
        "study": study,
        "data": str(identity["data"]),
        "protocol": registry.protocol(identity, is_confirmed),
        "fingerprint": str(identity["fingerprint"]),
    }
