"""`search.py --repeat RUN_ID`: trains one logged trial again, from its run alone, and compares.

It trains in a worker, as the trial was trained: with other numbers of threads the last bits differ.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from ncf.commands import terminal
from ncf.models import table
from ncf.protocol.metrics import Objective
from ncf.protocol.seeds import Purpose, spawn
from ncf.search.experiment import Experiment
from ncf.search.plan import Plan, Settings, Source, assemble
from ncf.tracking.store import default_uri, open_client
from ncf.tracking.tracker import MODEL_TAG, TRIAL_TAG, rounded
from ncf.tracking.trial_runs import best_metrics
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import EpochReport, Failure, Outcome
from ncf.trials.workers import run_tasks


def repeat(run_id: str, tracking_uri: str | None) -> int:
    """Repeats a trial and prints whether every metric came out equal.

    Returns:
        0 if so, 1 if not.

    Raises:
        ValueError: The run is not a trial's that was trained, or the data are other data.
        RuntimeError: The trial fails now.
    """
    client = open_client(tracking_uri or default_uri())
    try:
        run = client.get_run(run_id)
        parent = client.get_run(run.data.tags.get("mlflow.parentRunId", ""))
    except MlflowException as error:
        raise ValueError(f"--repeat {run_id}: no run of a trial: {error.message}") from error
    if TRIAL_TAG not in run.data.tags or "trial/epochs" not in run.data.metrics:
        raise ValueError(f"--repeat {run_id}: {run.info.run_name!r} is not a trained trial's run")
    plan = _plan(run, parent)
    recorded, now = parent.data.params["fingerprint"], plan.facts.fingerprint
    if recorded != now:
        raise ValueError(
            f"--repeat {run_id}: the data have changed: their fingerprint was {recorded}, now {now}"
        )
    logged = _logged(client, run)
    repeated = _train(int(run.data.tags[TRIAL_TAG]), plan)
    differing = sorted(
        key for key in logged.keys() | repeated.keys() if logged.get(key) != repeated.get(key)
    )
    terminal.show_repetition(str(run.info.run_name), logged, repeated, differing)
    return 1 if differing else 0


def _plan(run: Run, parent: Run) -> Plan:
    params = parent.data.params
    setting = table.setting_of(run.data.tags.get(MODEL_TAG, "gmf"), run.data.params)
    epochs = int(run.data.metrics["trial/epochs"])
    negatives = params.get("n_sampled_negatives") or params["n_candidates"]  # as it was called
    experiment = Experiment(
        name=params["data"],
        data=params["data_source"],
        defaults=setting,
        search_space=lambda _: setting,
        epochs=epochs,
        patience=epochs,
        n_sampled_negatives=int(negatives),
    )
    objective = Objective(k=int(params["k"]))
    settings = Settings(n_trials=1, seed=int(params["seed"]), objective=objective)
    min_rating = params.get("min_rating")
    source = Source(
        params["data_source"],
        params.get("columns"),
        None if min_rating is None else float(min_rating),
    )
    return assemble("repetition", experiment, settings, source)


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


def _train(number: int, plan: Plan) -> dict[str, float]:
    """Returns what the trial comes to now, by the keys of `_logged`."""
    seed = spawn(plan.settings.seed, Purpose.TRIAL, number)
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        plan.trial_data.save(Path(folder))
        tasks = iter([plan.task(number, plan.experiment.defaults, seed)])
        with LocalWorkers(1, Path(folder), n_at_once=1) as workers:
            for event in run_tasks(workers, lambda: next(tasks, None)):
                if isinstance(event, EpochReport):
                    values[f"train/loss, epoch {event.epoch}"] = event.loss
                    for name, value in event.metrics.items():
                        values[f"validation/{name}, epoch {event.epoch}"] = value
                elif isinstance(event, Outcome):
                    values["trial/best_epoch"] = event.best_epoch
                    values |= rounded(best_metrics(event))  # as logged; the epochs' are exact
                elif isinstance(event, Failure):
                    raise RuntimeError(f"trial {number} fails now: {event.reason}")
    return values
