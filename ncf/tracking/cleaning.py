"""What a study takes in MLflow's store, and how it is taken away.

Runs and models that are deleted lie in MLflow's bin, which `mlflow gc` empties; their files, which
are nearly all that they take, are removed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus, Run, ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from ncf.tracking import tag_names, views
from ncf.tracking.paging import all_runs
from ncf.tracking.tag_names import NOTE_TAG, PARENT_TAG, TRIAL_TAG

MODEL_IS_GONE = "Its model was deleted by `python -m ncf clean`; `--repeat` trains it again."


def runs_of(client: MlflowClient, study_id: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """Returns the runs of a study, the study's own among them.

    Args:
        client: A client of the store.
        study_id: The study's id in its record.
        view: Which runs: those in use, or those in MLflow's bin.
    """
    experiments = [one.experiment_id for one in client.search_experiments(ViewType.ALL)]
    names = (tag_names.EARLIER.study_id, tag_names.PRESENT.study_id)
    queries = [f"tags.`{name}` = '{study_id}'" for name in names]
    return [run for query in queries for run in all_runs(client, experiments, query, view)]


def models_of(client: MlflowClient, runs: Sequence[Run]) -> list[LoggedModel]:
    """Returns the logged models of a study's runs."""
    ids = {run.info.run_id for run in runs}
    models: list[LoggedModel] = []
    for experiment in sorted({run.info.experiment_id for run in runs}):
        token = None
        while True:
            page = client.search_logged_models([experiment], max_results=100, page_token=token)
            models += [model for model in page if model.source_run_id in ids]
            token = page.token
            if not token:
                break
    return models


def versions_of(client: MlflowClient, models: Sequence[LoggedModel]) -> list[ModelVersion]:
    """Returns the registered versions that are made of these models."""
    sources = {f"models:/{model.model_id}" for model in models}
    registered = client.search_registered_models()
    found = [
        version
        for model in registered
        for version in client.search_model_versions(f"name='{model.name}'")
    ]
    return [version for version in found if version.source in sources]


def size_of(runs: Sequence[Run], models: Sequence[LoggedModel]) -> int:
    """Returns the bytes of the files of runs and models that lie on this machine."""
    uris = [run.info.artifact_uri for run in runs]
    uris += [model.artifact_location for model in models]
    folders = [Path(unquote(urlsplit(uri).path)) for uri in uris if uri.startswith("file:")]
    return sum(map(size_of_folder, folders))


def size_of_folder(folder: Path) -> int:
    """Returns the bytes of the files of a folder; 0 where there is none."""
    size = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # it was removed just now
            size += 0 if file.is_symlink() or file.is_dir() else file.stat().st_size
    return size


def delete_models(client: MlflowClient, models: Sequence[LoggedModel]) -> None:
    """Deletes models and their files. A call that was cut short can be repeated."""
    for model in models:
        _remove_files(model.artifact_location)
        client.delete_logged_model(model.model_id)


def delete_runs(client: MlflowClient, runs: Sequence[Run], study_id: str) -> None:
    """Deletes a study's runs, their files and its saved view.

    The study's own run is the last, so that a call that was cut short finds the others again.
    """
    for run in sorted(runs, key=lambda run: PARENT_TAG not in run.data.tags):
        _remove_files(run.info.artifact_uri)
        if run.info.lifecycle_stage == "active":
            client.delete_run(run.info.run_id)
    for experiment in {run.info.experiment_id for run in runs}:
        tag = views.TAG + views.key_of(study_id)
        with suppress(MlflowException):  # it has none
            client.delete_experiment_tag(experiment, tag)


def delete_versions(client: MlflowClient, versions: Sequence[ModelVersion]) -> None:
    """Deletes registered versions, and the models that then have none."""
    for version in versions:
        client.delete_model_version(version.name, version.version)
    for name in {version.name for version in versions}:
        if not client.search_model_versions(f"name='{name}'", max_results=1):
            client.delete_registered_model(name)


def trials_with_models(
    client: MlflowClient, runs: Sequence[Run], models: Sequence[LoggedModel]
) -> dict[int, list[LoggedModel]]:
    """Returns the whole models of each trial that has any, by the trial's number."""
    numbers = {
        run.info.run_id: int(run.data.tags[TRIAL_TAG]) for run in runs if TRIAL_TAG in run.data.tags
    }
    found: dict[int, list[LoggedModel]] = {}
    for model in models:
        if model.source_run_id in numbers and model.status == LoggedModelStatus.READY:
            found.setdefault(numbers[model.source_run_id], []).append(model)
    return found


def note(client: MlflowClient, run: Run, sentence: str) -> None:
    """Adds a sentence to the Markdown on a run's page, once."""
    before = run.data.tags.get(NOTE_TAG, "")
    if sentence not in before:
        client.set_tag(run.info.run_id, NOTE_TAG, f"{before}\n\n{sentence}".strip())


def _remove_files(uri: str) -> None:
    with suppress(FileNotFoundError):
        get_artifact_repository(uri).delete_artifacts()  # type: ignore[no-untyped-call]
