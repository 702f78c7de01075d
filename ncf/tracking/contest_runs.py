"""The runs in MLflow beside the trials': of fresh seeds and of baselines, each written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ncf.models.table import describe
from ncf.search.results import Confirmed, Contestant
from ncf.tracking import notes
from ncf.tracking.tracker import (
    KEY_TAG,
    NOTE_TAG,
    PARENT_TAG,
    STATE_TAG,
    Tracker,
    params_of,
    rounded,
    tags_of,
)
from ncf.tracking.trial_runs import best_metrics


def log_confirmation(tracker: Tracker, confirmed: Confirmed) -> None:
    """Logs a child run for each fresh seed of a trial's setting, and what they come to."""
    number, setting = confirmed.number, confirmed.setting
    for index, outcome in enumerate(confirmed.outcomes):
        metrics = {
            **best_metrics(outcome),
            "trial/best_epoch": outcome.best_epoch,
            "trial/seconds": outcome.seconds,
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


def log_baseline(
    tracker: Tracker, baseline: Contestant, metrics: Mapping[str, float], note: str, at: float
) -> None:
    """Logs a child run for a tuned baseline; `note` is the Markdown that describes it."""
    key, name = f"baseline-{baseline.name}", f"baseline {baseline.name}"
    _log_child(tracker, key, name, asdict(baseline.setting), metrics, note, at, at)


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
    metrics = rounded(metrics)
    condition = f"tags.`{KEY_TAG}` = '{key}' and attributes.status = 'FINISHED'"
    if any(run.data.metrics == metrics for run in tracker.runs(condition)):
        return  # the same command again
    tags = {PARENT_TAG: tracker.parent, NOTE_TAG: note, **tracker.source_tags}
    run_id = tracker.create_run(key, name, tags, start)
    tracker.client.log_batch(
        run_id,
        metrics=tracker.metrics(metrics, 0, end),
        params=params_of(params),
        tags=tags_of({STATE_TAG: "finished"}),
    )
    tracker.client.set_terminated(run_id, "FINISHED", int(end * 1000))
