"""The runs of trials in MLflow, written while the trials go on.

`follow` stands in the stream of a search's events and has each trial's run written. The mirror's
thread does the writing, so that the search does not wait for MLflow.

The metrics of an epoch are exact, and their step is the epoch. A metric that a run has one value of
is rounded, since the UI rounds nothing, and its step is 0, for which the UI draws a bar.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric

from ncf.models.table import Setting, describe, model_of
from ncf.study import journal
from ncf.study.coordinator import Event, TrialStarted
from ncf.tracking import notes
from ncf.tracking.entities import params_of, rounded, tags_of
from ncf.tracking.logged_models import ModelFiles
from ncf.tracking.mirror import Mirror
from ncf.tracking.outcome_metrics import best_metrics, best_name, prefixed, spent_seconds
from ncf.tracking.recorded import complete, logged_trials
from ncf.tracking.tracker import (
    MODEL_TAG,
    NOTE_TAG,
    PARENT_TAG,
    STATE_TAG,
    STATUS,
    TRIAL_TAG,
    Tracker,
)
from ncf.trials.messages import EpochReport, Failure, Outcome

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_FLUSH_SECONDS = 10.0  # how often a running trial is written; a shorter one is written once
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


def follow(
    events: Iterable[Event],
    earlier: Sequence[FrozenTrial],
    tracker: Tracker,
    mirror: Mirror,
    models: ModelFiles,
) -> Generator[Event, None, None]:
    """Yields the events of a search again, and has the mirror write each trial's run.

    Args:
        events: The events that the coordinator yields.
        earlier: The trials that had ended before; those that MLflow lacks are written too.
        tracker: Writes to MLflow.
        mirror: The queue that the writing is put in.
        models: The files that the trials leave their weights in.
    """

    def put(record: TrialRecord) -> None:
        record.put_at = time.monotonic()
        mirror.put(f"trial {record.number}", partial(write_trial, record, tracker, models))

    def put_missing() -> None:
        logged = logged_trials(tracker)
        for trial in earlier:
            if trial.number not in logged:
                put(_record_of(trial))
            else:
                complete(tracker, logged[trial.number], trial)
                # a killed process may have left the weights
                models.weights(trial.number).unlink(missing_ok=True)

    mirror.put("earlier trials", put_missing)
    running: dict[int, TrialRecord] = {}
    try:
        for event in events:
            if isinstance(event, TrialStarted):
                running[event.number] = TrialRecord(event.number, event.setting, event.at)
            elif isinstance(event, EpochReport):
                running[event.number].reports.append(event)
            else:
                record = running.pop(event.trial.number)
                record.end = _end_of(event.trial)
                put(record)
            for record in running.values():
                if time.monotonic() - record.put_at > _FLUSH_SECONDS:
                    put(record)
            yield event
    finally:
        for record in running.values():
            record.is_interrupted = True
            record.end = Failure(record.number, "the search was interrupted")
            put(record)


def write_trial(record: TrialRecord, tracker: Tracker, models: ModelFiles) -> None:
    """Writes what MLflow lacks of a trial. This is an entry of the mirror."""
    end = record.end  # read before the reports, since more of them may come meanwhile
    if not record.run_id:
        record.run_id = _start_trial(tracker, record)
    params = {} if record.n_written else asdict(record.setting)
    reports = record.reports[record.n_written :]
    outcome = end if isinstance(end, Outcome) else None
    weights = models.weights(record.number)
    model_id = None
    if outcome and weights.exists():
        model_id = models.log(tracker, record.run_id, outcome, record.setting)
    # MLflow shows first what was logged first, and compares runs by it.
    best = _best(tracker, record.reports, outcome, model_id)
    _log_trial(tracker, record.run_id, params, best, reports, outcome, model_id)
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
) -> None:
    """Writes what is new of a trial in one request, and closes its run where it has ended.

    `params` is empty and `reports` holds new ones alone, as far as the run has the others. The
    model, if any, gets the metrics of the outcome too.
    """
    metrics = [*best, *(metric for report in reports for metric in _epoch(tracker, report))]
    tags: dict[str, str] = {}
    if outcome is not None:
        state = "pruned" if outcome.pruned else "finished"
        tags = {STATE_TAG: state, NOTE_TAG: notes.describe_trial(outcome, run_id)}
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
    tags = {STATE_TAG: state, "ncf.reason": failure.reason[:500], NOTE_TAG: note}
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


def _record_of(trial: FrozenTrial) -> TrialRecord:
    """Returns the record of a trial that ended before."""
    start = time.time() if trial.datetime_start is None else trial.datetime_start.timestamp()
    reports = journal.reports_of(trial)
    return TrialRecord(trial.number, journal.setting_of(trial), start, reports, _end_of(trial))


def _end_of(trial: FrozenTrial) -> Outcome | Failure:
    return journal.outcome_of(trial) if journal.is_trained(trial) else journal.failure_of(trial)
