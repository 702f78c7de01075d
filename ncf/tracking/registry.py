"""MLflow's registry: versions of a model, and the alias `champion` for the one in use.

The tags of a version hold its setting and its results. Which version becomes champion is decided
in `gate.py`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ncf.serving.packaged import load_recommender
from ncf.serving.recommender import Recommender
from ncf.study.identity import full_users_of, n_negatives_of, objective_of
from ncf.tracking import notes, places
from ncf.tracking.database import file_of
from ncf.tracking.packaging import DATA_FOLDER, complete, stands_alone
from ncf.tracking.store import open_client

_logger = logging.getLogger(__name__)
CHAMPION = "champion"
SINCE = "champion_since"  # the tag that notes when a version became champion, and of which other
SEEDS = "confirming_seeds"  # the tag with the number of seeds that the objective is a mean over
OBJECTIVE = "validation_"  # the tag that decides is this and the name of the objective


def register(
    client: MlflowClient,
    name: str,
    model_id: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str,
) -> ModelVersion:
    """Makes a logged model a version of `name`; a second call returns the version of the first.

    Args:
        client: A client of the store.
        name: The name of the registered model, which is created where it is missing.
        model_id: The id of the logged model.
        run_id: The id of its run.
        tags: The tags of the version.
        description: The description of the version.
    """
    try:
        client.create_registered_model(name, description=notes.REGISTERED_MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = version_of(client, name, model_id) or client.create_model_version(
        # A server needs the model's id beside the source, though the source holds it.
        name,
        f"models:/{model_id}",
        run_id=run_id,
        tags=dict(tags),
        description=description,
        model_id=model_id,
    )
    # The UI reads the versions of a logged model from this tag.
    known = json.dumps([{"name": name, "version": str(version.version)}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": known})
    return version


def version_of(client: MlflowClient, name: str, model_id: str) -> ModelVersion | None:
    """Returns the version of `name` that a logged model was made; None where it was made none."""
    query = f"name='{name}' and source_path='models:/{model_id}'"
    return next(iter(client.search_model_versions(query)), None)


def protocol(identity: Mapping[str, Any], is_confirmed: bool) -> str:
    """Returns in a few words how the validation objective of a version was measured.

    Args:
        identity: The study's identity, or the parameters of its run.
        is_confirmed: Whether the objective is a mean over confirming seeds.
    """
    seeds = "mean of confirming seeds" if is_confirmed else "one seed"
    n_users = full_users_of(identity) if objective_of(identity).is_full else None
    if n_users is not None:
        seeds += f", full catalogue for {n_users} users"
    return (
        f"{identity['split']}, {n_negatives_of(identity)} negatives, k {identity['k']}, "
        f"seed {identity['seed']}, {seeds}"
    )


def champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """Returns the version that has the alias `champion`, if any."""
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else client.get_model_version(name, version)


def has_files(version: ModelVersion) -> bool:
    """Returns whether the files of a version are where MLflow looks for them."""
    uri = f"models:/{version.name}/{version.version}"
    try:
        return bool(mlflow.artifacts.list_artifacts(artifact_uri=uri))
    except MlflowException as error:
        return str(error.error_code) != "RESOURCE_DOES_NOT_EXIST"


def crown(client: MlflowClient, new: ModelVersion, old: ModelVersion | None) -> str:
    """Makes a version the champion; a tag of it notes when, and which version it replaced.

    The alias comes first, so that no tag tells of what never came about. Where the process ends
    between the two, `note_reign` writes the tag later.

    Returns:
        What was done, as a sentence.
    """
    replaced = "" if old is None else f", in place of version {old.version}"
    if SINCE in new.tags:  # from an earlier reign
        client.delete_model_version_tag(new.name, str(new.version), SINCE)
    client.set_registered_model_alias(new.name, CHAMPION, new.version)
    client.set_model_version_tag(new.name, str(new.version), SINCE, _now() + replaced)
    return f"version {new.version} is the new champion{replaced}"


def note_reign(client: MlflowClient, version: ModelVersion) -> None:
    """Notes on the champion that it is, where a process that was killed has not come to it."""
    if SINCE not in version.tags:
        client.set_model_version_tag(version.name, str(version.version), SINCE, f"before {_now()}")


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def load(uri: str | None, tracking_uri: str) -> tuple[str, Recommender]:
    """Loads a model, by default the champion that was registered last.

    Returns:
        The URI of the model, and the model.

    Raises:
        ValueError: There is no such model.
    """
    client = open_client(tracking_uri)
    uri = uri or _latest_champion(client)
    if ":" not in uri and uri.count("/") + uri.count("@") == 1:  # as `models` names versions
        uri = f"models:/{uri}"
    if ":" not in uri and "/" not in uri and not Path(uri).exists():
        raise ValueError(
            f"--model {uri}: the name of a model alone says no version; give {uri}/VERSION or "
            f"{uri}@{CHAMPION}, as `python -m ncf models` lists them"
        )
    try:
        return uri, read(client, uri)
    except ValueError as error:
        raise ValueError(f"--model {error}") from error


def read(client: MlflowClient, uri: str) -> Recommender:
    """Loads a model of the client's store; of its files it reads the data alone, and runs nothing.

    Raises:
        ValueError: There is no such model, a part of it was deleted, or it is damaged.
    """
    return _fetch(client, uri)[1]


def make_whole(client: MlflowClient, model_id: str) -> None:
    """Makes a logged model one that stands alone, if it is not yet.

    Raises:
        ValueError: As of `read`.
    """
    if not stands_alone(client, model_id):
        complete(client, model_id, *_fetch(client, f"models:/{model_id}"))


def _fetch(client: MlflowClient, uri: str) -> tuple[Path, Recommender]:
    """Returns the data folder of a model on this machine, and the model that was loaded from it."""
    try:
        folder = Path(mlflow.artifacts.download_artifacts(uri)) / DATA_FOLDER
        if not folder.is_dir():
            raise ValueError("not a model of this project; give models:/NAME/VERSION")
        return folder, load_recommender(folder)
    except MlflowException as error:
        reason = str(error.message)
        moved = places.moved(file_of(client.tracking_uri), _location(client, uri))
        if moved:
            reason = moved
        elif reason.startswith("No such artifact"):
            reason = f"its files, {_place_of(client, uri)}, are gone; take another version"
        elif reason.startswith("Run with id"):
            reason += ", and the model needs what was kept with it; take another version"
        raise ValueError(f"{uri}: {reason}") from error
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{uri}: {error}") from error


def _place_of(client: MlflowClient, uri: str) -> str:
    """Returns where the files of a model should be, as far as MLflow still knows."""
    location = _location(client, uri)
    return f"which were at {location}" if location else "of which MLflow knows no more"


def _location(client: MlflowClient, uri: str) -> str:
    """Returns the URI of a model's files; empty where MLflow does not know it."""
    text = uri.removeprefix("models:/")
    name, separator, version = text.rpartition("@" if "@" in text else "/")
    find = client.get_model_version_by_alias if separator == "@" else client.get_model_version
    try:
        model_id = str(find(name, version).source).removeprefix("models:/") if separator else text
        return str(client.get_logged_model(model_id).artifact_location)
    except MlflowException:
        return ""


def _latest_champion(client: MlflowClient) -> str:
    versions = [
        client.get_model_version_by_alias(model.name, CHAMPION)
        for model in client.search_registered_models()
        if CHAMPION in model.aliases
    ]
    if not versions:
        raise ValueError("no model is registered as champion yet: run search.py, or give --model")
    latest = max(versions, key=lambda version: version.creation_timestamp)
    if others := [f"{one.name}@{CHAMPION}" for one in versions if one is not latest]:
        _logger.warning(
            "there are several champions; %s, which was registered last, answers, and not %s: "
            "--model models:/NAME@champion names another",
            f"{latest.name}@{CHAMPION}",
            ", ".join(others),
        )
    return f"models:/{latest.name}@{CHAMPION}"


def objective_tag(version: ModelVersion) -> str | None:
    """Returns the tag that holds a version's objective; None where another project made it."""
    return next((tag for tag in version.tags if tag.startswith(OBJECTIVE)), None)
