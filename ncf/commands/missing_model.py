"""`python -m ncf register RUN_ID` where MLflow has no model of the trial: it is trained again."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from ncf.commands.repeat import plan_of_run, train_again
from ncf.data.files import RESULTS
from ncf.serving.catalogue import Catalogue
from ncf.study.plan import Plan
from ncf.tracking import notes
from ncf.tracking.entities import rounded
from ncf.tracking.logged_models import is_whole, log_model, model_name
from ncf.tracking.outcome_metrics import best_metrics, best_name
from ncf.tracking.packaging import package
from ncf.tracking.recorded import setting_of_run
from ncf.tracking.tag_names import NOTE_TAG, PARENT_TAG, TRIAL_TAG
from ncf.tracking.tracker import Tracker
from ncf.tracking.versions import run_of, study_run
from ncf.trials.messages import Outcome


def make(client: MlflowClient, run_id: str) -> None:
    """Has MLflow have the model of a trial's run; where it has none, the trial is trained again.

    The run of something else is left alone.

    Raises:
        ValueError: There is no such run, or the data have changed.
        RuntimeError: The trial does not come out as it was logged, so that the model is another.
    """
    run = run_of(client, run_id, f"{run_id}: no such run in this store")
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    is_there = any(is_whole(client, str(model.model_id)) for model in models)
    if is_there or TRIAL_TAG not in run.data.tags or "trial/epochs" not in run.data.metrics:
        return
    study_run(client, run)  # or an error that says so
    print(f"{run.info.run_name}: MLflow has no model of it; it is trained again", file=sys.stderr)
    run, plan = plan_of_run(client, run_id, run_id)
    experiment = client.get_experiment(run.info.experiment_id).name
    tracker = Tracker(str(client.tracking_uri), RESULTS, experiment, plan.facts)
    tracker.parent = run.data.tags[PARENT_TAG]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        again = train_again(client, run, plan, weights)
        if again.differing:
            raise RuntimeError(
                f"{run_id}: trained again, {len(again.differing)} of {len(again.logged)} metrics "
                "differ from the logged ones, as on another processor or with other packages, so "
                "that this is another model; register it on a machine like the one that trained it"
            )
        outcome = replace(again.outcome, time=_ended_at(client, run))
        _log(tracker, run, plan, outcome, weights)


def _log(tracker: Tracker, run: Run, plan: Plan, outcome: Outcome, weights: Path) -> None:
    """Logs a model, which stands alone, with a trial's run, which has its metrics already."""
    run_id, setting = str(run.info.run_id), setting_of_run(run)
    plain = Catalogue.of(plan.interactions, plan.split.whole, plan.split.train)
    catalogue = _with_titles(tracker.client, tracker.parent, plain)
    folder = weights.parent / "model"
    package(folder, weights, setting, catalogue)
    name = model_name(outcome.number)
    step = outcome.best_epoch
    model_id = log_model(tracker, run_id, name, name, folder, asdict(setting), step)
    objective = plan.settings.objective
    values = {best_name(objective): objective.value(outcome.metrics), **best_metrics(outcome)}
    metrics = tracker.metrics(rounded(values), 0, outcome.time, model_id)
    tracker.client.log_batch(run_id, metrics=metrics)
    tracker.set_tags(run_id, {NOTE_TAG: notes.describe_trial(outcome, run_id)})


def _with_titles(client: MlflowClient, study_run_id: str, plain: Catalogue) -> Catalogue:
    """Returns the catalogue that the study shares, which has its titles, where it is the same."""
    for artifact in client.list_artifacts(study_run_id):
        if artifact.path.startswith("catalogue"):
            shared = Catalogue.load(Path(client.download_artifacts(study_run_id, artifact.path)))
            if replace(shared, titles=plain.titles).digest == plain.digest:
                plain = plain if shared.titles is None else shared
    return plain


def _ended_at(client: MlflowClient, run: Run) -> float:
    """Returns when a trial ended, so that MLflow takes its metrics for those that it has."""
    (best, *_) = client.get_metric_history(str(run.info.run_id), "trial/best_epoch")
    return (best.timestamp + 0.5) / 1000  # a time that is turned into this number again
