"""A model's data folder: what is written of a fitted model, and read again to answer from it.

    weights.safetensors     the scorer's arrays, and the checksum of the catalogue that they go with
    weights.sha256          the checksum of that file
    hyperparameters.json    the setting that they were trained with
    catalogue.npz           own ids, titles and seen items; or
    catalogue.json          the artifact that holds them (a trial's model shares its study's)

Earlier models have the catalogue's checksum in a file catalogue.sha256, or nowhere. The folder
holds data alone and no code, and reading it runs none of it.

The files of this package import each other by relative names, so that they run from a copy of the
package under any name: a registered model has such a copy beside its data.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from .catalogue import Catalogue
from .checks import check_weights
from .recommender import Recommender
from .scorers import load_scorer
from .served import refuse_unknown_params

_logger = logging.getLogger(__name__)
_WEIGHTS, _CHECKSUM = "weights.safetensors", "weights.sha256"
_GOES_WITH = "catalogue_sha256"  # of the weights' metadata
_REMEDY = "take another version, or make it again"


def write_model(
    folder: Path,
    arrays: Mapping[str, NDArray[Any]],
    setting: Mapping[str, Any],
    catalogue: Catalogue,
    catalogue_uri: str | None = None,
) -> None:
    """Writes a fitted model into a folder that exists.

    Args:
        folder: Where to write; files of a model that is there are replaced.
        arrays: The scorer's arrays.
        setting: The hyperparameters by name.
        catalogue: The catalogue.
        catalogue_uri: The artifact that holds the catalogue; None means to write it.
    """
    content = save(dict(arrays), metadata={_GOES_WITH: catalogue.digest})
    (folder / _WEIGHTS).write_bytes(content)
    (folder / _CHECKSUM).write_text(hashlib.sha256(content).hexdigest())
    (folder / "hyperparameters.json").write_text(json.dumps(setting, indent=2))
    if catalogue_uri is None:
        catalogue.save(folder / "catalogue.npz")
    else:
        write_pointer(folder, catalogue_uri)


def write_pointer(folder: Path, catalogue_uri: str) -> Path:
    """Writes which artifact holds the catalogue of a model; returns the file."""
    file = folder / "catalogue.json"
    file.write_text(json.dumps({"uri": catalogue_uri}))
    return file


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
        recorded = _catalogue_digest(folder, content)
        if recorded not in ("", catalogue.digest):
            raise ValueError("the catalogue is not that of its checksum")
    except Exception as error:  # a dozen kinds, by which byte is lost
        raise ValueError(f"{folder}: the model is damaged ({error}); {_REMEDY}") from error
    if n_users not in (None, catalogue.n_users) or n_items != catalogue.n_items:
        raise ValueError(
            f"{folder}: weights of {n_users} users and {n_items} items do not fit a catalogue of "
            f"{catalogue.n_users} and {catalogue.n_items}; take another version"
        )
    try:
        check_weights(scorer.arrays(), catalogue.n_users, catalogue.n_items)
        probe = scorer.score_all(np.zeros(min(1, catalogue.n_users), np.int64))
        if probe.shape[1:] != (catalogue.n_items,):
            raise ValueError(f"a user's scores are of shape {probe.shape[1:]}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: the model is damaged ({error}); {_REMEDY}") from error
    if not recorded:
        _logger.warning(
            "%s: the model is of an earlier version, without a checksum of its catalogue, so that "
            "damage to that would not be found",
            folder,
        )
    return Recommender(scorer, catalogue)


def _catalogue_digest(folder: Path, weights: bytes) -> str:
    """Returns the checksum of the catalogue that weights go with; empty where none is recorded."""
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    own = header.get("__metadata__", {}).get(_GOES_WITH)
    if own is not None:
        return str(own)
    beside = folder / "catalogue.sha256"
    return beside.read_text() if beside.exists() else ""


def _catalogue_path(folder: Path) -> Path:
    own = folder / "catalogue.npz"
    if own.exists():
        return own
    import mlflow

    pointer = json.loads((folder / "catalogue.json").read_text())
    uri = pointer.get("uri") if isinstance(pointer, dict) else None
    if not isinstance(uri, str) or not uri.startswith(("runs:/", "models:/")):
        raise ValueError(f"{folder}: catalogue.json names no artifact of a run; {_REMEDY}")
    return Path(mlflow.artifacts.download_artifacts(uri))


def _load_pyfunc(data_path: str) -> Recommender:  # the name that MLflow calls
    refuse_unknown_params()
    return load_recommender(Path(data_path))
