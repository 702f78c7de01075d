"""`search.py --repeat RUN_ID`: trains a logged trial again, from its run alone, and compares.

It trains in a worker, as the trial was trained, since with another number of threads the last bits
could differ.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
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
from ncf.tracking.recorded import setting_of_run
from ncf.tracking.store import default_uri, open_client
from ncf.tracking.tag_names import PARENT_TAG, TRIAL_TAG
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import EpochReport, Failure, Outcome
from ncf.trials.workers import run_tasks


@dataclass(frozen=True)
class Repetition:
    """A trial that was trained again.

    Attributes:
        logged: The metrics of each epoch and of the best one that its run has, by name and epoch.
        metrics: Those that it has now, by the same names.
        outcome: How it ended now.
    """

    logged: dict[str, float]
    metrics: dict[str, float]
    outcome: Outcome

    @property
    def differing(self) -> list[str]:
        """The names of the metrics that are not equal."""
        names = self.logged.keys() | self.metrics.keys()
        return sorted(name for name in names if self.logged.get(name) != self.metrics.get(name))


def repeat(run_id: str, tracking_uri: str | None) -> int:
    """Repeats a trial and prints whether every metric is equal.

    Returns:
        The exit status: 0 if all are equal, otherwise 1.

    Raises:
        ValueError: The run is not that of a trained trial, or the data have changed.
        RuntimeError: The trial fails this time.
    """
    client = open_client(tracking_uri or default_uri())
    run, plan = plan_of_run(client, run_id, f"--repeat {run_id}")
    again = train_again(client, run, plan)
    terminal.show_repetition(str(run.info.run_name), again.logged, again.metrics, again.differing)
    return 1 if again.differing else 0


def plan_of_run(client: MlflowClient, run_id: str, asked: str) -> tuple[Run, Plan]:
    """Returns the run of a trial, and a plan that has the trial's setting alone.

    Args:
        client: A client of the store.
        run_id: The id of the run.
        asked: What was asked for, with which an error begins.

    Raises:
        ValueError: The run is not that of a trained trial, or the data have changed.
    """
    try:
        run = client.get_run(run_id)
        parent = client.get_run(run.data.tags.get(PARENT_TAG, ""))
    except MlflowException as error:
        raise ValueError(f"{asked}: no run of a trial: {error.message}") from error
    if TRIAL_TAG not in run.data.tags or "trial/epochs" not in run.data.metrics:
        raise ValueError(f"{asked}: {run.info.run_name!r} is not a trained trial's run")
    plan = _plan(run, parent)
    recorded, now = parent.data.params["fingerprint"], plan.facts.fingerprint
    if recorded != now:
        raise ValueError(
            f"{asked}: the data have changed: their fingerprint was {recorded}, now {now}"
        )
    return run, plan


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


def train_again(
    client: MlflowClient, run: Run, plan: Plan, weights: Path | None = None
) -> Repetition:
    """Trains a trial again.

    Args:
        client: A client of the store.
        run: The trial's run.
        plan: The plan with the trial's setting.
        weights: The file for the trial's weights; None where they are not needed.

    Raises:
        RuntimeError: The trial fails this time.
    """
    number = int(run.data.tags[TRIAL_TAG])
    seed = spawn(plan.settings.seed, Purpose.TRIAL, number)
    values: dict[str, float] = {}
    end: Outcome | Failure | None = None
    with tempfile.TemporaryDirectory() as folder:
        plan.trial_data.save(Path(folder))
        tasks = iter([plan.task(number, plan.experiment.defaults, seed, weights)])
        with LocalWorkers(1, Path(folder), n_at_once=1) as workers:
            for event in run_tasks(workers, lambda: next(tasks, None)):
                if isinstance(event, EpochReport):
                    values[f"train/loss, epoch {event.epoch}"] = event.loss
                    for name, value in event.metrics.items():
                        values[f"validation/{name}, epoch {event.epoch}"] = value
                elif isinstance(event, Outcome | Failure):
                    end = event
    if not isinstance(end, Outcome):
        raise RuntimeError(f"trial {number} fails now: {end.reason if end else 'it has no end'}")
    values["trial/best_epoch"] = end.best_epoch
    values |= rounded(best_metrics(end))  # logged rounded, unlike those of epochs
    return Repetition(_logged(client, run), values, end)


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
