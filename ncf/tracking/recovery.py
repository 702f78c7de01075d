"""What is done where MLflow has lost something of a study: its store, or the study's run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ncf.tracking.logged_models import ModelFiles
from ncf.tracking.recorded import logged_trials
from ncf.tracking.tag_names import PARENT_TAG
from ncf.tracking.tracker import Tracker

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def adopt(tracker: Tracker, models: ModelFiles) -> None:
    """Puts the study's runs below its present run, where their models find the catalogue.

    They lie below another where that is gone for good, as after `mlflow gc`. This is an entry of
    the mirror, after the one that keeps the catalogue with the study's run.
    """
    for run in tracker.runs():
        if run.data.tags.get(PARENT_TAG, tracker.parent) != tracker.parent:
            run_id = str(run.info.run_id)
            for model in tracker.models(run_id):
                models.point_to_catalogue(tracker, str(model.model_id))
            tracker.set_tags(run_id, {PARENT_TAG: tracker.parent})


def not_logged(trials: Sequence[FrozenTrial], tracker: Tracker) -> list[FrozenTrial]:
    """Returns the trials that MLflow lacks; none where it does not answer just now."""
    try:
        logged = logged_trials(tracker) if trials else {}
    except Exception:  # of any kind: MLflow must not end the search
        return []
    return [trial for trial in trials if trial.number not in logged]
