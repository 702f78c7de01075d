"""The runs of fresh seeds and of other contestants, each written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ncf.models.table import describe
from ncf.study.results import Confirmed, Contestant
from ncf.tracking import notes
from ncf.tracking.entities import params_of, rounded, tags_of
from ncf.tracking.outcome_metrics import best_metrics, spent_seconds
from ncf.tracking.tracker import KEY_TAG, NOTE_TAG, PARENT_TAG, STATE_TAG, Tracker


def log_confirmation(tracker: Tracker, confirmed: Confirmed) -> None:
    """Logs a child run for each fresh seed of a trial, and their mean to the study's run."""
    number = confirmed.number
    setting = confirmed.setting
    for index, outcome in enumerate(confirmed.outcomes):
        metrics = {
            **best_metrics(outcome),
            "trial/best_epoch": outcome.best_epoch,
            **spent_seconds(outcome),
        }
        name = f"trial {number} again, seed {index + 1} · {describe(setting)}"
        key = f"confirmation-{number}-{index}"
        note = notes.describe_confirmation(number)
        start = outcome.time - outcome.seconds
        _log_child(tracker, key, name, asdict(setting), metrics, note, start, outcome.time)
    summary = {f"validation_confirmed/trial_{number}_mean": confirmed.mean}
    if len(confirmed.outcomes) > 1:
        summary[f"validation_confirmed/trial_{number}_sd"] = confirmed.sd
    at = max(outcome.time for outcome in confirmed.outcomes)
    tracker.client.log_batch(tracker.parent, metrics=tracker.metrics(rounded(summary), 0, at))


def log_contestant(
    tracker: Tracker, contestant: Contestant, metrics: Mapping[str, float], note: str, at: float
) -> None:
    """Logs a child run for a tuned baseline, or for the best trial where another won.

    Args:
        tracker: Writes to MLflow.
        contestant: The contestant.
        metrics: Its metrics.
        note: The Markdown that describes it.
        at: When test was read, in seconds since 1970.
    """
    key, name = f"baseline-{contestant.name}", f"baseline {contestant.name}"
    if contestant.is_trial:
        key, name = "best-trial", f"trial {contestant.number}, the best, on test"
    _log_child(tracker, key, name, asdict(contestant.setting), metrics, note, at, at)


def _log_child(
    tracker: Tracker,
    key: str,
    name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    note: str,
    start: float,
    end: float,
) -> None:
    """Makes a run of the study and closes it, unless an equal one is there."""
    metrics = rounded(metrics)
    condition = f"tags.`{KEY_TAG}` = '{key}' and attributes.status = 'FINISHED'"
    if any(run.data.metrics == metrics for run in tracker.runs(condition)):
        return  # an earlier call, or an earlier run of the command, has written it
    tags = {PARENT_TAG: tracker.parent, NOTE_TAG: note, **tracker.source_tags}
    run_id = tracker.create_run(key, name, tags, start)
    tracker.client.log_batch(
        run_id,
        metrics=tracker.metrics(metrics, 0, end),
        params=params_of(params),
        tags=tags_of({STATE_TAG: "finished"}),
    )
    tracker.client.set_terminated(run_id, "FINISHED", int(end * 1000))
