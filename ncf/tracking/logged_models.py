"""Models as MLflow keeps them: packaged as a folder, logged with a run.

A trial's model is as complete as the winner's, so that any of them can be registered in the UI,
loaded and served. It holds data only; the code is `ncf.serving`.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array, DataType
from safetensors.numpy import load_file

from ncf.models.table import Setting
from ncf.serving.catalogue import Catalogue
from ncf.serving.packaged import write_model
from ncf.tracking.tracker import Tracker
from ncf.trials.messages import Outcome

_ANY: DataType = AnyType()  # type: ignore[no-untyped-call, assignment]
DATA_FOLDER = Path("data/model")  # of a packaged model: what `load_recommender` reads


@dataclass(frozen=True)
class ModelFiles:
    """Where trials leave their weights until MLflow has them.

    Attributes:
        folder: A folder of this study.
        catalogue: The catalogue of all the trials' models.
        catalogue_uri: The artifact that holds it, which they share.
    """

    folder: Path
    catalogue: Catalogue
    catalogue_uri: str

    def weights(self, number: int) -> Path:
        """Returns the file for a trial's weights."""
        return self.folder / f"trial-{number:04d}.safetensors"

    def log(self, tracker: Tracker, run_id: str, outcome: Outcome, hyperparameters: Setting) -> str:
        """Logs the model that a trial left; returns its id."""
        weights, packaged = self.weights(outcome.number), self.folder / "trial-model"
        if packaged.exists():  # only the data differ from one trial to the next
            _write(packaged / DATA_FOLDER, weights, hyperparameters, self.catalogue_uri)
        else:
            package(packaged, weights, hyperparameters, self.catalogue, self.catalogue_uri)
        name = f"trial-{outcome.number:04d}"
        params = asdict(hyperparameters)
        return tracker.log_model(run_id, name, name, packaged, params, outcome.best_epoch)


def package(
    folder: Path,
    weights: Path,
    hyperparameters: Setting,
    catalogue: Catalogue,
    catalogue_uri: str | None = None,
) -> None:
    """Makes `folder` an MLflow model of the weights.

    Args:
        folder: Where to; what is there is replaced.
        weights: The safetensors file of a scorer's arrays.
        hyperparameters: What it was trained with, kept beside the weights.
        catalogue: The catalogue of the model.
        catalogue_uri: The artifact that holds the catalogue already; None packs it in.
    """
    staging, unfinished = folder.with_suffix(".data"), folder.with_suffix(".part")
    for left_by_a_kill in (folder, staging, unfinished):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    data = staging / DATA_FOLDER.name
    data.mkdir(parents=True)
    _write(data, weights, hyperparameters, catalogue_uri or catalogue)
    mlflow.pyfunc.save_model(
        unfinished,
        loader_module="ncf.serving.packaged",
        data_path=str(data),
        signature=_signature(np.issubdtype(catalogue.item_ids.dtype, np.integer)),
        pip_requirements=[f"ncf-search=={version('ncf-search')}"],  # given: inferring takes seconds
    )
    unfinished.rename(folder)  # whole or absent
    shutil.rmtree(staging)


def _write(data: Path, weights: Path, hyperparameters: Setting, catalogue: Catalogue | str) -> None:
    write_model(data, load_file(weights), asdict(hyperparameters), catalogue)


def _signature(has_integer_ids: bool) -> ModelSignature:
    item_id = DataType.long if has_integer_ids else DataType.string
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(DataType.string, "user_id", required=False),  # integers are cast to it
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
                ParamSpec("k", DataType.long, 10),
                ParamSpec("include_seen", DataType.boolean, False),
            ]
        ),
    )
