"""A model's data folder: what is written of a fitted model, and read again to answer from it.

    weights.safetensors     the scorer's arrays
    weights.sha256          their checksum
    hyperparameters.json    the setting that they were trained with
    catalogue.npz           own ids, titles and seen items; or
    catalogue.json          the artifact that holds them (a trial's model shares its study's)

It holds data alone and no code, and reading it runs none of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import load, save

from ncf.serving.catalogue import Catalogue
from ncf.serving.recommender import Recommender
from ncf.serving.scorers import load_scorer

_WEIGHTS, _CHECKSUM = "weights.safetensors", "weights.sha256"


def write_model(
    folder: Path,
    arrays: Mapping[str, NDArray[Any]],
    setting: Mapping[str, Any],
    catalogue: Catalogue | str,
) -> None:
    """Writes a fitted model into a folder that exists.

    Args:
        folder: Where to write; files of a model that is there are replaced.
        arrays: The scorer's arrays.
        setting: The hyperparameters by name.
        catalogue: The catalogue, or the URI of the artifact that holds it already.
    """
    content = save(dict(arrays))
    (folder / _WEIGHTS).write_bytes(content)
    (folder / _CHECKSUM).write_text(hashlib.sha256(content).hexdigest())
    (folder / "hyperparameters.json").write_text(json.dumps(setting, indent=2))
    if isinstance(catalogue, Catalogue):
        catalogue.save(folder / "catalogue.npz")
    else:
        (folder / "catalogue.json").write_text(json.dumps({"uri": catalogue}))


def load_recommender(folder: Path) -> Recommender:
    """Reads a model's data folder.

    Raises:
        FileNotFoundError: A file of it is missing.
        ValueError: The model is damaged, or its arrays and catalogue are of different data.
    """
    path = _catalogue_path(folder)
    content, checksum = (folder / _WEIGHTS).read_bytes(), (folder / _CHECKSUM).read_bytes()
    try:
        if hashlib.sha256(content).hexdigest().encode() != checksum:
            raise ValueError("the weights are not those of their checksum")
        scorer, catalogue = load_scorer(load(content)), Catalogue.load(path)
        n_users, n_items = scorer.n_users, scorer.n_items
    except Exception as error:  # a dozen kinds, by which byte is lost
        raise ValueError(
            f"{folder}: the model is damaged ({error}); take another version, or make it again"
        ) from error
    if n_users not in (None, catalogue.n_users) or n_items != catalogue.n_items:
        raise ValueError(
            f"{folder}: weights of {n_users} users and {n_items} items do not fit a catalogue of "
            f"{catalogue.n_users} and {catalogue.n_items}; take another version"
        )
    return Recommender(scorer, catalogue)


def _catalogue_path(folder: Path) -> Path:
    own = folder / "catalogue.npz"
    if own.exists():
        return own
    import mlflow

    uri = json.loads((folder / "catalogue.json").read_text())["uri"]
    return Path(mlflow.artifacts.download_artifacts(uri))


def _load_pyfunc(data_path: str) -> Recommender:  # the name that MLflow calls
    return load_recommender(Path(data_path))
