"""MLflow's registry: versions of a model, and the alias `champion` for the one in use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ncf.models import DATA_FOLDER
from ncf.recommender import Recommender, load_recommender
from ncf.tracking import open_client

CHAMPION = "champion"


def register(
    client: MlflowClient, name: str, model_id: str, run_id: str, tags: Mapping[str, str]
) -> ModelVersion:
    """Makes the model a version of `name`, once: a second call finds the first's version."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"models:/{model_id}"
    versions = client.search_model_versions(f"name='{name}' and source_path='{source}'")
    if versions:
        return versions[0]
    # a server wants the model's id beside the source, which says the same
    return client.create_model_version(
        name, source, run_id=run_id, tags=dict(tags), model_id=model_id
    )


def champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """Returns the version that the alias `champion` names now, if any."""
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def promote(
    client: MlflowClient, new: ModelVersion, metric: str, comparable: tuple[str, ...]
) -> str:
    """Moves `champion` to the new version if it is better on the same data and protocol.

    Args:
        client: The registry.
        new: The version, with its metrics as tags.
        metric: The tag of the validation metric to compare, higher is better.
        comparable: Tags that must be equal for the metrics to be comparable.

    Returns:
        What was decided, as a sentence.
    """
    old = champion(client, new.name)
    if old is not None and old.version == new.version:
        return f"version {new.version} is the champion"
    if old is not None:
        differing = [tag for tag in comparable if old.tags.get(tag) != new.tags[tag]]
        if differing:
            return (
                f"version {old.version} stays champion: its {' and '.join(differing)} differ, so "
                "that the two cannot be compared"
            )
        if float(new.tags[metric]) <= float(old.tags[metric]):
            return (
                f"version {old.version} stays champion: its {metric} is "
                f"{float(old.tags[metric]):.4f}, the new one's {float(new.tags[metric]):.4f}"
            )
    client.set_registered_model_alias(new.name, CHAMPION, new.version)
    return f"version {new.version} is the new champion" + (
        "" if old is None else f", in place of version {old.version}"
    )


def load(uri: str | None, tracking_uri: str) -> tuple[str, Recommender]:
    """Loads a model, by default the champion that was registered last.

    Returns:
        The URI that was loaded, and the model.

    Raises:
        ValueError: There is no such model.
    """
    client = open_client(tracking_uri)
    uri = uri or _latest_champion(client)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(uri)) / DATA_FOLDER
        if not folder.is_dir():
            raise ValueError(
                f"--model {uri}: not a model of this project; give models:/NAME/VERSION"
            )
        return uri, load_recommender(folder)
    except MlflowException as error:
        raise ValueError(f"--model {uri}: {error.message}") from error


def _latest_champion(client: MlflowClient) -> str:
    versions = [
        client.get_model_version_by_alias(model.name, CHAMPION)
        for model in client.search_registered_models()
        if CHAMPION in model.aliases
    ]
    if not versions:
        raise ValueError("no model is registered as champion yet: run search.py, or give --model")
    latest = max(versions, key=lambda version: version.creation_timestamp)
    return f"models:/{latest.name}@{CHAMPION}"
