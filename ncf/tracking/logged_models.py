"""Models as MLflow keeps them: logged with a run, each a folder that `packaging.py` makes."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from safetensors.numpy import load_file

from ncf.models.table import Setting
from ncf.serving.catalogue import Catalogue
from ncf.serving.packaged import write_model, write_pointer
from ncf.study.coordinator import weights_in
from ncf.tracking import notes, tag_names
from ncf.tracking.packaging import DATA_FOLDER, package
from ncf.tracking.tag_names import NOTE_TAG
from ncf.tracking.tracker import Tracker
from ncf.trials.messages import Outcome

_packaging = threading.Lock()  # MLflow changes what all threads share meanwhile


@dataclass(frozen=True)
class ModelFiles:
    """The files that trials leave their weights in, until MLflow has them.

    Attributes:
        folder: The study's folder.
        catalogue: The catalogue of all trials' models.
        catalogue_uri: The artifact that holds the catalogue, which the models share.
    """

    folder: Path
    catalogue: Catalogue
    catalogue_uri: str

    def weights(self, number: int) -> Path:
        """Returns the file for a trial's weights."""
        return weights_in(self.folder, number)

    def log(self, tracker: Tracker, run_id: str, outcome: Outcome, setting: Setting) -> str:
        """Logs the model of a trial's weights; returns its id."""
        weights = self.weights(outcome.number)
        packaged = self.folder / f"trial-model-{threading.get_native_id()}"  # of the writing thread
        if packaged.exists():  # only the data differ from one trial to the next
            data = packaged / DATA_FOLDER
            write_model(
                data, load_file(weights), asdict(setting), self.catalogue, self.catalogue_uri
            )
        else:
            with _packaging:
                package(packaged, weights, setting, self.catalogue, self.catalogue_uri)
        name = model_name(outcome.number)
        params = asdict(setting)
        step, note = outcome.best_epoch, notes.describe_model(run_id)
        return log_model(tracker, run_id, name, name, packaged, params, step, note)

    def point_to_catalogue(self, tracker: Tracker, model_id: str) -> None:
        """Has a trial's model, which MLflow has, look for its catalogue where that is now."""
        with tempfile.TemporaryDirectory() as folder:
            pointer = write_pointer(Path(folder), self.catalogue_uri)
            tracker.client.log_model_artifact(model_id, str(pointer), str(DATA_FOLDER))


def model_name(number: int) -> str:
    """Returns the name of a trial's model, which is also its key among the models of its run."""
    return f"trial-{number:04d}"


def is_whole(client: MlflowClient, model_id: str) -> bool:
    """Returns whether MLflow has a logged model with its files."""
    try:
        model = client.get_logged_model(model_id)
        return model.status == LoggedModelStatus.READY and bool(
            client.list_logged_model_artifacts(model_id)
        )
    except MlflowException as error:
        return error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def log_model(
    tracker: Tracker,
    run_id: str,
    key: str,
    name: str,
    folder: Path,
    params: Mapping[str, Any],
    step: int,
    note: str = "",
) -> str:
    """Makes a packaged model a logged model of a run, once.

    Args:
        tracker: Writes to MLflow.
        run_id: The run.
        key: Identifies the model among those of the run.
        name: The name of the model.
        folder: The packaged model.
        params: The parameters that are noted with it.
        step: The epoch after which the model was taken.
        note: The Markdown that describes it; empty for none.

    Returns:
        The model's id; its URI is `models:/<id>`.
    """
    client = tracker.client
    is_new_run = tracker.has_made(run_id) and not tracker.is_repeated(f"{key} of {run_id}")
    models = [] if is_new_run else tracker.models(run_id)
    found = next((model for model in models if tag_names.key_of(model.tags) == key), None)
    if (model := found) is None:
        texts = {name: str(value) for name, value in params.items()}
        labels = tag_names.of_key(key) | ({NOTE_TAG: note} if note else {})
        model = client.create_logged_model(
            tracker.experiment_id, name, run_id, labels, texts, "recommender"
        )
    is_ready = found is not None and found.status == LoggedModelStatus.READY
    if not is_ready or not is_whole(client, str(model.model_id)):  # by an earlier call, in part
        client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    outputs = client.get_run(run_id).outputs if found else None
    if model.model_id not in [one.model_id for one in (outputs.model_outputs if outputs else [])]:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
    return str(model.model_id)
