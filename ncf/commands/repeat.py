"""`search.py --repeat RUN_ID`: trains a logged trial again, from its run alone, and compares.

It trains in a worker, as the trial was trained, since with another number of threads the last bits
could differ.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from ncf.commands import terminal
from ncf.protocol.seeds import Purpose, spawn
from ncf.study.experiment import Experiment
from ncf.study.identity import full_users_of, n_negatives_of, objective_of
from ncf.study.plan import Plan, Settings, assemble
from ncf.study.source import source_of
from ncf.tracking.entities import rounded
from ncf.tracking.outcome_metrics import best_metrics
from ncf.tracking.store import default_uri, open_client
from ncf.tracking.tracker import PARENT_TAG, TRIAL_TAG
from ncf.tracking.trial_runs import setting_of_run
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import EpochReport, Failure, Outcome
from ncf.trials.workers import run_tasks


def repeat(run_id: str, tracking_uri: str | None) -> int:
    """Repeats a trial and prints whether every metric is equal.

    Returns:
        The exit status: 0 if all are equal, otherwise 1.

    Raises:
        ValueError: The run is not that of a trained trial, or the data have changed.
        RuntimeError: The trial fails this time.
    """
    client = open_client(tracking_uri or default_uri())
    try:
        run = client.get_run(run_id)
        parent = client.get_run(run.data.tags.get(PARENT_TAG, ""))
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
    """Returns the plan of a study of this trial alone, from its run and its study's."""
    params = parent.data.params
    setting = setting_of_run(run)
    epochs = int(run.data.metrics["trial/epochs"])
    experiment = Experiment(
        name=params["data"],
        data=params["data_source"],
        defaults=setting,
        search_space=lambda _: setting,
        epochs=epochs,
        patience=epochs,
        n_sampled_negatives=n_negatives_of(params),
    )
    settings = Settings(
        n_trials=1,
        seed=int(params["seed"]),
        objective=objective_of(params),
        full_users=full_users_of(params),
    )
    return assemble("repetition", experiment, settings, source_of(params))


def _logged(client: MlflowClient, run: Run) -> dict[str, float]:
    """Returns the logged metrics of each epoch and of the best one, by name and epoch."""
    values = {}
    for name, value in run.data.metrics.items():
        if name == "train/loss" or name.startswith("validation/"):
            for metric in client.get_metric_history(run.info.run_id, name):
                values[f"{name}, epoch {metric.step}"] = metric.value
        elif name.startswith(("validation_best/", "validation_full/", "trial/best_epoch")):
            values[name] = value
    return values


def _train(number: int, plan: Plan) -> dict[str, float]:
    """Trains the trial and returns its metrics by the names that `_logged` gives them."""
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
                    values |= rounded(best_metrics(event))  # logged rounded, unlike those of epochs
                elif isinstance(event, Failure):
                    raise RuntimeError(f"trial {number} fails now: {event.reason}")
    return values
