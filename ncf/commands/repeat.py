"""Trains one logged trial again, from its run alone, and compares every metric bit for bit."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from ncf.commands import terminal
from ncf.models.gmf.setting import hyperparameters_of
from ncf.protocol.seeds import Purpose, spawn
from ncf.search.coordinator import Settings
from ncf.search.experiment import Experiment
from ncf.search.plan import Prepared, assemble
from ncf.tracking.store import default_uri, open_client
from ncf.tracking.tracker import TRIAL_TAG, rounded
from ncf.trials import trial
from ncf.trials.messages import EpochReport, Task


def repeat(run_id: str, tracking_uri: str | None) -> int:
    """Repeats a trial and prints whether every metric came out equal.

    Returns:
        0 if so, 1 if not.

    Raises:
        ValueError: The run is not a trial's that was trained, or the data are other data.
    """
    client = open_client(tracking_uri or default_uri())
    try:
        run = client.get_run(run_id)
        parent = client.get_run(run.data.tags.get("mlflow.parentRunId", ""))
    except MlflowException as error:
        raise ValueError(f"--repeat {run_id}: no run of a trial: {error.message}") from error
    if TRIAL_TAG not in run.data.tags or "trial/epochs" not in run.data.metrics:
        raise ValueError(f"--repeat {run_id}: {run.info.run_name!r} is not a trained trial's run")
    prepared = _prepare(run, parent)
    recorded, now = parent.data.params["fingerprint"], prepared.facts.fingerprint
    if recorded != now:
        raise ValueError(
            f"--repeat {run_id}: the data have changed: their fingerprint was {recorded}, now {now}"
        )
    logged = _logged(client, run)
    repeated = _train(run, prepared)
    differing = sorted(
        key for key in logged.keys() | repeated.keys() if logged.get(key) != repeated.get(key)
    )
    terminal.show_repetition(str(run.info.run_name), logged, repeated, differing)
    return 1 if differing else 0


def _prepare(run: Run, parent: Run) -> Prepared:
    params = parent.data.params
    setting = hyperparameters_of(run.data.params)
    experiment = Experiment(
        name=params["data"],
        data=params["data_source"],
        defaults=setting,
        search_space=lambda _: setting,
        epochs=int(run.data.metrics["trial/epochs"]),
        n_candidates=int(params["n_candidates"]),
    )
    settings = Settings(
        n_trials=1, seed=int(params["seed"]), k=int(params["k"]), device="auto", timeout=None
    )
    min_rating = params.get("min_rating")
    return assemble(
        "repetition",
        experiment,
        settings,
        params.get("columns"),
        None if min_rating is None else float(min_rating),
    )


def _logged(client: MlflowClient, run: Run) -> dict[str, float]:
    """Returns each metric of each epoch, and of the best, by a key of its own."""
    values = {}
    for name, value in run.data.metrics.items():
        if name == "train/loss" or name.startswith("validation/"):
            for metric in client.get_metric_history(run.info.run_id, name):
                values[f"{name}, epoch {metric.step}"] = metric.value
        elif name.startswith(("validation_best/", "validation_full/", "trial/best_epoch")):
            values[name] = value
    return values


def _train(run: Run, prepared: Prepared) -> dict[str, float]:
    torch.set_num_threads(1)  # as in a worker
    number, epochs = int(run.data.tags[TRIAL_TAG]), prepared.experiment.epochs
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        task = Task(
            number,
            prepared.experiment.defaults,
            spawn(prepared.settings.seed, Purpose.TRIAL, number),
            epochs,
            epochs,
            prepared.settings.k,
            prepared.settings.device,
            (-math.inf,) * epochs,
            Path(folder) / "weights.safetensors",
        )
        for event in trial.run(task, prepared.trial_data):
            if isinstance(event, EpochReport):
                values[f"train/loss, epoch {event.epoch}"] = event.loss
                for name, value in event.metrics.items():
                    values[f"validation/{name}, epoch {event.epoch}"] = value
            else:
                values["trial/best_epoch"] = event.best_epoch
                best = {f"validation_best/{k}": v for k, v in event.metrics.items()}
                best |= {f"validation_full/{k}": v for k, v in event.metrics_full.items()}
                values |= rounded(best)  # as they were logged; the epochs' are exact
    return values
