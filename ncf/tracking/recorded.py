"""What MLflow has of a study's trials, read from their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow.entities import Run

from ncf.models.table import Setting, model_of, setting_of
from ncf.tracking.entities import rounded, tags_of
from ncf.tracking.outcome_metrics import best_name
from ncf.tracking.tag_names import MODEL_TAG, STATE_TAG, TRIAL_TAG
from ncf.tracking.tracker import Tracker

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def logged_trials(tracker: Tracker) -> dict[int, Run]:
    """Returns the runs that are complete in MLflow, by the number of their trial."""
    return {
        int(run.data.tags[TRIAL_TAG]): run
        for run in tracker.runs()
        if TRIAL_TAG in run.data.tags
        and run.data.tags.get(STATE_TAG) in ("finished", "pruned", "failed")
    }


def was_trained(run: Run) -> bool:
    """Returns whether what a run is of finished or was pruned.

    A trial may have a second run, which a killed search left and which may have begun later.
    """
    return run.data.tags.get(STATE_TAG) in ("finished", "pruned")


def complete(tracker: Tracker, run: Run, trial: FrozenTrial) -> None:
    """Adds what the study's view needs to the run of a trial that an older version has logged."""
    from ncf.study import journal  # only here: it needs Optuna, which `models` does without

    name = best_name(tracker.objective)
    if not journal.is_trained(trial) or (name in run.data.metrics and MODEL_TAG in run.data.tags):
        return
    outcome = journal.outcome_of(trial)
    values = rounded({name: tracker.objective.value(outcome.metrics)})
    tags = {MODEL_TAG: model_of(journal.setting_of(trial)).name}
    metrics = tracker.metrics(values, 0, outcome.time)
    tracker.client.log_batch(str(run.info.run_id), metrics=metrics, tags=tags_of(tags))


def setting_of_run(run: Run) -> Setting:
    """Returns the setting of a trial, as its run has it."""
    name = run.data.tags.get(MODEL_TAG, "gmf")  # older runs name none: there was no other model
    return setting_of(name, run.data.params)
