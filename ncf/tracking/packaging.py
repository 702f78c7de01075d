"""A model as a folder that MLflow loads and serves: its data, what it needs, and how to ask it.

A model that is registered stands alone: it has the catalogue, a copy of `ncf.serving`, which is the
code that answers, and the versions of the few packages that this imports. So it is loaded and
served where this project is not installed. The copy has a name of its own, made of its content,
so that it can be loaded beside this package and beside copies of other versions.

A trial's model that is not registered has its data alone. It shares its study's catalogue, and
needs this project. The command `register`, or winning, makes it one that stands alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array, DataType
from safetensors.numpy import load_file

from ncf.data.files import whole
from ncf.models.table import Setting
from ncf.serving import packaged
from ncf.serving.catalogue import Catalogue
from ncf.serving.packaged import write_model
from ncf.serving.recommender import Recommender
from ncf.serving.served import DEFAULTS

DATA_FOLDER = Path("data/model")  # of a packaged model: what `load_recommender` reads
_NEEDED = ("mlflow", "numpy", "pandas", "safetensors", "scipy")  # by `ncf.serving`
_OF_PROJECTS = ("uv.lock", "pyproject.toml", ".python-version")  # which MLflow copies from here
_ANY: DataType = AnyType()  # type: ignore[no-untyped-call, assignment]
_EXAMPLE_ITEMS = 3


def package(
    folder: Path,
    weights: Path,
    setting: Setting,
    catalogue: Catalogue,
    catalogue_uri: str | None = None,
) -> None:
    """Makes `folder` an MLflow model of the weights, in place of what was there.

    Args:
        folder: The folder.
        weights: The safetensors file of a fitted model's arrays.
        setting: The setting that it was trained with, which is kept beside the weights.
        catalogue: The catalogue of the model.
        catalogue_uri: The artifact that holds the catalogue; None makes a model that stands alone.
    """
    _package(folder, weights, asdict(setting), catalogue, catalogue_uri)


def stands_alone(client: MlflowClient, model_id: str) -> bool:
    """Returns whether a logged model has the code that answers and a catalogue of its own."""
    top = [file.path for file in client.list_logged_model_artifacts(model_id)]
    data = client.list_logged_model_artifacts(model_id, str(DATA_FOLDER))
    return "code" in top and any(file.path.endswith("catalogue.npz") for file in data)


def complete(client: MlflowClient, model_id: str, data: Path, model: Recommender) -> None:
    """Makes a logged model one that stands alone; a call that was cut short can be repeated.

    Args:
        client: A client of its store.
        model_id: The id of the model.
        data: Its data folder on this machine.
        model: The model that was loaded from it.
    """
    setting = json.loads((data / "hyperparameters.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        _package(folder, data / "weights.safetensors", setting, model.catalogue, None)
        last = (folder / DATA_FOLDER / "catalogue.npz").rename(Path(scratch) / "catalogue.npz")
        client.log_model_artifacts(model_id, str(folder))
        client.log_model_artifact(model_id, str(last), str(DATA_FOLDER))  # all else is there


def _package(
    folder: Path,
    weights: Path,
    setting: Mapping[str, Any],
    catalogue: Catalogue,
    catalogue_uri: str | None,
) -> None:
    staging = folder.with_suffix(".data")
    shutil.rmtree(staging, ignore_errors=True)  # a killed process may have left it
    data = staging / DATA_FOLDER.name
    data.mkdir(parents=True)
    write_model(data, load_file(weights), setting, catalogue, catalogue_uri)
    if catalogue_uri is None:
        code = _copy_code(staging)
        how = {
            "loader_module": f"{code.name}.packaged",
            "code_paths": [str(code)],
            "input_example": _example(catalogue),
            "pip_requirements": [f"{name}=={version(name)}" for name in _NEEDED],
        }
    else:
        how = {
            "loader_module": "ncf.serving.packaged",
            # Given, since MLflow takes seconds to infer them.
            "pip_requirements": [f"ncf-search=={version('ncf-search')}"],
        }
    with whole(folder) as draft:
        mlflow.pyfunc.save_model(draft, data_path=str(data), signature=_signature(catalogue), **how)
        for name in _OF_PROJECTS:
            (draft / name).unlink(missing_ok=True)
    shutil.rmtree(staging)


def _copy_code(folder: Path) -> Path:
    """Copies `ncf.serving` into a folder under a name that no other code has; returns the copy."""
    files = sorted(Path(packaged.__file__).parent.glob("*.py"))
    contents = {file.name: file.read_bytes() for file in files}
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    copy = folder / f"ncf_serving_{digest.hexdigest()[:12]}"
    copy.mkdir()
    for name, content in contents.items():
        (copy / name).write_bytes(content)
    return copy


def _example(catalogue: Catalogue) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns a request that the UI shows with the model: two users, and a param."""
    users = catalogue.user_ids[catalogue.fitted_users[:2]].tolist()
    table = pd.DataFrame({"user_id": users})
    # MLflow compares the names with numbers, at which pandas 3.0.0 fails where they are of arrow.
    table.columns = pd.Index(["user_id"], dtype=object)
    return table, {"k": _EXAMPLE_ITEMS}


def _signature(catalogue: Catalogue) -> ModelSignature:
    """Returns the inputs, outputs and parameters of a served model."""
    has_integer_ids = np.issubdtype(catalogue.item_ids.dtype, np.integer)
    item_id = DataType.long if has_integer_ids else DataType.string
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(_ANY, "user_id", required=False),  # integers or text
                ColSpec(_ANY, "item_ids", required=False),  # a list, or text with commas
            ]
        ),
        outputs=Schema(
            [
                ColSpec(DataType.string, "user_id"),
                ColSpec(Array(item_id), "item_ids"),
                ColSpec(Array(DataType.double), "scores"),
                ColSpec(Array(DataType.string), "titles"),
                ColSpec(DataType.boolean, "known"),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("k", DataType.long, DEFAULTS["k"]),
                ParamSpec("include_seen", DataType.boolean, DEFAULTS["include_seen"]),
                ParamSpec("only", item_id, DEFAULTS["only"], (-1,)),
                ParamSpec("exclude", item_id, DEFAULTS["exclude"], (-1,)),
            ]
        ),
    )
