"""The run of a trial in MLflow: what is known of the trial, and how it is written.

The metrics of an epoch are exact, and their step is the epoch. A metric that a run has one value of
is rounded, since the UI rounds nothing, and its step is 0, for which the UI draws a bar.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlflow.entities import Metric

from ncf.models.table import Setting, describe, model_of
from ncf.tracking import notes
from ncf.tracking.entities import params_of, rounded, tags_of
from ncf.tracking.logged_models import ModelFiles
from ncf.tracking.outcome_metrics import best_metrics, best_name, prefixed, spent_seconds
from ncf.tracking.tag_names import (
    MODEL_TAG,
    NOTE_TAG,
    PARENT_TAG,
    REASON_TAG,
    STATE_TAG,
    TRIAL_TAG,
)
from ncf.tracking.tracker import STATUS, Tracker
from ncf.trials.messages import EpochReport, Failure, Outcome

_logger = logging.getLogger(__name__)
_BATCH = 900  # metrics that fit into one request together with parameters and tags


@dataclass
class TrialRecord:
    """What is known of a trial so far, and how much of it MLflow has.

    Attributes:
        number: The trial's number.
        setting: The trial's setting.
        started_at: When it began, in seconds since 1970.
        reports: The reports of its epochs so far.
        end: How it ended, set once all its reports are there; None while it runs.
        is_interrupted: Whether it ended because the search was interrupted.
        run_id: The id of its run; empty while there is none.
        n_written: How many of its reports the run has.
        put_at: When it was last handed to the mirror, on the monotonic clock.
    """

    number: int
    setting: Setting
    started_at: float
    reports: list[EpochReport] = field(default_factory=list)
    end: Outcome | Failure | None = None
    is_interrupted: bool = False
    run_id: str = ""
    n_written: int = 0
    put_at: float = field(default_factory=time.monotonic)


def write_trial(
    record: TrialRecord,
    tracker: Tracker,
    models: ModelFiles,
    is_kept: Callable[[int], bool] = lambda _: True,
) -> None:
    """Writes what MLflow lacks of a trial. This is an entry of the mirror.

    Args:
        record: The trial.
        tracker: Writes to MLflow.
        models: The files that the trials leave their weights in.
        is_kept: Returns whether MLflow is to have the model of the trial of a number.
    """
    end = record.end  # read before the reports, since more of them may come meanwhile
    if not record.run_id:
        record.run_id = _start_trial(tracker, record)
    params = {} if record.n_written else asdict(record.setting)
    reports = record.reports[record.n_written :]
    outcome = end if isinstance(end, Outcome) else None
    weights = models.weights(record.number)
    model_id, why_not = None, ""
    if outcome and not is_kept(record.number):
        why_not = "it was not among the best when it ended"
    elif outcome and weights.exists():
        model_id = models.log(tracker, record.run_id, outcome, record.setting)
    elif outcome:
        why_not = "its weights were gone when it was to be kept"
        _logger.warning("trial %d: MLflow gets no model of it: %s", record.number, why_not)
    # MLflow shows first what was logged first, and compares runs by it.
    best = _best(tracker, record.reports, outcome, model_id)
    _log_trial(tracker, record.run_id, params, best, reports, outcome, model_id, why_not)
    record.n_written += len(reports)
    if isinstance(end, Failure):
        _fail_trial(tracker, record.run_id, end, record.is_interrupted)
    elif outcome:
        weights.unlink(missing_ok=True)  # only now, so that a call that failed can be repeated


def _start_trial(tracker: Tracker, record: TrialRecord) -> str:
    """Creates the run of a trial; returns its id."""
    tags = {
        TRIAL_TAG: str(record.number),
        MODEL_TAG: model_of(record.setting).name,
        STATE_TAG: "running",
        PARENT_TAG: tracker.parent,
        **tracker.source_tags,
    }
    name = f"trial {record.number} · {describe(record.setting)}"
    return tracker.create_run(f"trial-{record.number}", name, tags, record.started_at)


def _log_trial(
    tracker: Tracker,
    run_id: str,
    params: Mapping[str, Any],
    best: Sequence[Metric],
    reports: Sequence[EpochReport],
    outcome: Outcome | None,
    model_id: str | None,
    why_not: str,
) -> None:
    """Writes what is new of a trial in one request, and closes its run where it has ended.

    `params` is empty and `reports` holds new ones alone, as far as the run has the others. The
    model, if any, gets the metrics of the outcome too; `why_not` says why there is none.
    """
    metrics = [*best, *(metric for report in reports for metric in _epoch(tracker, report))]
    tags: dict[str, str] = {}
    if outcome is not None:
        state = "pruned" if outcome.pruned else "finished"
        tags = {STATE_TAG: state, NOTE_TAG: notes.describe_trial(outcome, run_id, why_not)}
        counts = {
            "trial/best_epoch": outcome.best_epoch,
            "trial/epochs": outcome.epochs,
            **spent_seconds(outcome),
        }
        metrics += tracker.metrics(rounded(best_metrics(outcome)), 0, outcome.time, model_id)
        metrics += tracker.metrics(rounded(counts), 0, outcome.time)
    # Too many metrics for one request go ahead, so that the last request brings the state.
    if len(metrics) > _BATCH:
        tracker.client.log_batch(run_id, metrics=metrics[:-_BATCH])
    tracker.client.log_batch(run_id, metrics[-_BATCH:], params_of(params), tags_of(tags))
    if outcome is not None:
        tracker.client.set_terminated(run_id, STATUS[tags[STATE_TAG]], int(outcome.time * 1000))


def _best(
    tracker: Tracker,
    reports: Sequence[EpochReport],
    outcome: Outcome | None,
    model_id: str | None,
) -> list[Metric]:
    """Returns the objective of a trial's best epoch, among all of its reports while it runs."""
    objective = tracker.objective
    values = [objective.value(one.metrics) for one in (reports if outcome is None else [outcome])]
    if not values:
        return []
    at = reports[-1].time if outcome is None else outcome.time
    return tracker.metrics(rounded({best_name(objective): max(values)}), 0, at, model_id)


def _fail_trial(tracker: Tracker, run_id: str, failure: Failure, is_interrupted: bool) -> None:
    """Closes the run of a trial that failed or was interrupted, with the reason."""
    state = "interrupted" if is_interrupted else "failed"
    note = f"**{state.capitalize()}:** {failure.reason}"
    if failure.traceback:
        note += f"\n\n```\n{failure.traceback[-6000:]}\n```"
    tags = {STATE_TAG: state, REASON_TAG: failure.reason[:500], NOTE_TAG: note}
    tracker.set_tags(run_id, tags)
    tracker.client.set_terminated(run_id, STATUS[state])


def _epoch(tracker: Tracker, report: EpochReport) -> list[Metric]:
    """Returns an epoch's metrics under the names that MLflow shows."""
    values = {
        "train/loss": report.loss,
        "train/seconds": round(report.seconds, 4),
        "train/samples_per_second": round(report.n_samples / report.seconds),
        **prefixed("validation", report.metrics),
    }
    return tracker.metrics(values, report.epoch, report.time)
