"""MLflow's registry: versions of a model, and the alias `champion` for the one in use.

A version's tags say what it is and what it came to. The study's objective on validation decides
which of two versions is better, and only where `fingerprint` and `protocol` are equal; test never
does.
"""

from __future__ import annotations

import json
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
from ncf.tracking import notes
from ncf.tracking.logged_models import DATA_FOLDER
from ncf.tracking.store import open_client

CHAMPION = "champion"
OBJECTIVE = "validation_"  # begins the tag that decides; the name of the objective follows
_COMPARABLE = ("fingerprint", "protocol")  # tags that must be equal for it to decide


def register(
    client: MlflowClient,
    name: str,
    model_id: str,
    run_id: str,
    tags: Mapping[str, str],
    what: str,
) -> ModelVersion:
    """Makes the model a version of `name`, once: a second call finds the first's version.

    Args:
        client: The registry.
        name: Of the registered model, made where it is missing.
        model_id: The logged model.
        run_id: Its run.
        tags: Of the version.
        what: The version in words.
    """
    try:
        client.create_registered_model(name, description=notes.REGISTERED_MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"models:/{model_id}"
    versions = client.search_model_versions(f"name='{name}' and source_path='{source}'")
    version = next(iter(versions), None) or client.create_model_version(
        # a server wants the model's id beside the source, which says the same
        name,
        source,
        run_id=run_id,
        tags=dict(tags),
        description=what,
        model_id=model_id,
    )
    # where the UI looks for the versions of a logged model
    known = json.dumps([{"name": name, "version": str(version.version)}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": known})
    return version


def protocol(identity: Mapping[str, Any], is_confirmed: bool) -> str:
    """Returns how the validation metric of a study's version came about.

    Args:
        identity: The study's, or its run's parameters.
        is_confirmed: Whether it is a mean over confirming seeds.
    """
    name = "n_sampled_negatives"
    n_negatives = identity[name if name in identity else "n_candidates"]  # as it was called before
    seeds = "mean of confirming seeds" if is_confirmed else "one seed"
    return (
        f"{identity['split']}, {n_negatives} negatives, k {identity['k']}, "
        f"seed {identity['seed']}, {seeds}"
    )


def champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """Returns the version that the alias `champion` names now, if any."""
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else client.get_model_version(name, version)


def promote(client: MlflowClient, new: ModelVersion) -> str:
    """Moves `champion` to the new version if it is better on the same data and protocol.

    Returns:
        What was decided, as a sentence.
    """
    old = champion(client, new.name)
    if old is not None and old.version == new.version:
        return f"version {new.version} is the champion"
    if old is not None and (reason := objection(old, new)):
        return f"version {old.version} stays champion: {reason}"
    return crown(client, new, old)


def objection(old: ModelVersion, new: ModelVersion) -> str:
    """Returns why the new version cannot be said to be better than the old one, '' if it is."""
    differing = [tag for tag in _COMPARABLE if old.tags.get(tag) != new.tags.get(tag)]
    if differing:
        return " and ".join(
            f"its {tag} is {_short(old.tags.get(tag))}, the new one's {_short(new.tags.get(tag))}"
            for tag in differing
        ) + ", so that the two cannot be compared"  # fmt: skip
    metric = objective_tag(new)
    if metric not in old.tags:
        return f"it was not judged by {metric}, as the new one was"
    if float(new.tags[metric]) > float(old.tags[metric]):
        return ""
    return (
        f"its {metric} is {float(old.tags[metric]):.4f}, the new one's "
        f"{float(new.tags[metric]):.4f}"
    )


def crown(client: MlflowClient, new: ModelVersion, old: ModelVersion | None) -> str:
    """Makes the version the champion, and notes on it whom it replaced and when.

    Returns:
        That, as a sentence.
    """
    replaced = "" if old is None else f", in place of version {old.version}"
    note = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()) + replaced
    client.set_model_version_tag(new.name, str(new.version), "champion_since", note)
    client.set_registered_model_alias(new.name, CHAMPION, new.version)
    return f"version {new.version} is the new champion{replaced}"


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


def objective_tag(version: ModelVersion) -> str | None:
    """Returns the name of the tag that holds a version's objective; None for another project's."""
    return next((tag for tag in version.tags if tag.startswith(OBJECTIVE)), None)


def _short(tag: str | None) -> str:
    return "unknown" if tag is None else repr(tag[:80])
