"""Versions that a person registered with the UI's own button, which has none of our tags.

What such a version is stands in the run of its model. It is read from there and written on the
version, so that all that reads the tags of versions knows it from then on. Its model, which shares
the catalogue of its study if it is a trial's, is made one that stands alone.
"""

from __future__ import annotations

import logging

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ncf.models.table import Setting, model_of, setting_of, title
from ncf.protocol.metrics import label
from ncf.study.identity import objective_of
from ncf.tracking import notes, registry, versions
from ncf.tracking.outcome_metrics import CONFIRMED, validation_of
from ncf.tracking.recorded import setting_of_run
from ncf.tracking.tag_names import MODEL_TAG, PARENT_TAG, STUDY_TAG, TRIAL_TAG, key_of
from ncf.tracking.winners import parts_of

_logger = logging.getLogger(__name__)


def find(client: MlflowClient, text: str) -> ModelVersion:
    """Returns the version that a text names, as `versions.find`, with the tags of this project."""
    return mark(client, versions.find(client, text))


def mark_all(client: MlflowClient) -> None:
    """Marks every version that a model of this project was registered as."""
    for version in client.search_model_versions():
        mark(client, version)


def mark(client: MlflowClient, version: ModelVersion) -> ModelVersion:
    """Returns a version with the tags of this project, if its model is one of this project.

    Its model stands alone from then on, which takes half a second the first time.

    Args:
        client: A client of its store.
        version: The version; one that has the tags, or that another project made, is left as it is.
    """
    if registry.objective_tag(version) is not None:
        return version
    model_id = str(version.source).removeprefix("models:/")
    try:
        tags, description = _described(client, model_id)
    except (MlflowException, ValueError, KeyError):  # it was deleted, or is no model of ours
        return version
    try:
        registry.make_whole(client, model_id)
    except ValueError as error:
        _logger.warning("%s/%s does not load: %s", version.name, version.version, error)
    if not version.description:
        client.update_model_version(version.name, version.version, description)
    for name, value in tags.items():
        client.set_model_version_tag(version.name, version.version, name, value)
    return client.get_model_version(version.name, version.version)


def _described(client: MlflowClient, model_id: str) -> tuple[dict[str, str], str]:
    """Returns the tags and the description of a version that is made of a logged model.

    Raises:
        MlflowException: The model or its run is gone.
        ValueError: It is no model of this project, or its study was deleted.
        KeyError: The run has not what a run of this project has.
    """
    model = client.get_logged_model(model_id)
    run = client.get_run(str(model.source_run_id))
    parent = versions.study_run(client, run)
    identity = parent.data.params
    objective = objective_of(identity)
    is_trial = TRIAL_TAG in run.data.tags
    metrics = run.data.metrics
    value = validation_of(metrics, objective)
    if value is None or STUDY_TAG not in run.data.tags:
        raise ValueError(f"{model_id}: no model of this project")
    setting, number = _trial_of(run) if is_trial else _winner_of(client, model, run)
    seeds = {}
    if not is_trial and "confirmed/seeds" in metrics:
        seeds = {registry.SEEDS: f"{metrics['confirmed/seeds']:.0f}"}
    tested: dict[str, str] = {}
    if not is_trial:
        tested = {name: text for name, text in run.data.tags.items() if name.startswith("test_")}
    was_confirmed = {CONFIRMED, f"validation_confirmed/{objective.name}"} & metrics.keys()
    is_confirmed = not is_trial and (bool(was_confirmed) or not model_of(setting).is_seeded)
    fitted_on = "train" if is_trial else "train + validation"
    study = run.data.tags[STUDY_TAG]
    tags = {
        **tested,
        **seeds,
        **versions.tags_of(setting, fitted_on, number, study, identity, is_confirmed),
        # The last, since who finds this one takes it that the others are there.
        registry.OBJECTIVE + objective.name: f"{value:.6f}",
    }
    test = ", ".join(f"{label(name.removeprefix('test_'))} {tested[name]}" for name in tested)
    validation = f"{objective.label} {value:.4f}"
    return tags, notes.describe_version(setting, fitted_on, validation, test)


def _trial_of(run: Run) -> tuple[Setting, str]:
    """Returns the setting of a trial and its number."""
    return setting_of_run(run), run.data.tags[TRIAL_TAG]


def _winner_of(client: MlflowClient, model: LoggedModel, run: Run) -> tuple[Setting, str]:
    """Returns the setting of a winner, and its number as `register_winner` writes it.

    Raises:
        ValueError: It is no winner's model.
    """
    name, number = parts_of(key_of(model.tags))
    if name:
        return setting_of(name, model.params or {}), f"{number} of {title(name)}"
    query = f"tags.`{TRIAL_TAG}` = '{number}' and tags.`{PARENT_TAG}` = '{run.info.run_id}'"
    trials = client.search_runs([run.info.experiment_id], query, max_results=1)
    name = trials[0].data.tags.get(MODEL_TAG, "gmf") if trials else "gmf"
    return setting_of(name, model.params or {}), number
