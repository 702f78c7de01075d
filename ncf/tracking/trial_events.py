"""The events of a search, followed: each trial's run is written to MLflow while the trial goes on.

The mirror's threads do the writing, so that the search does not wait for MLflow.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ncf.study import journal
from ncf.study.coordinator import Event, TrialStarted
from ncf.tracking.kept import Kept
from ncf.tracking.logged_models import ModelFiles
from ncf.tracking.mirror import Mirror
from ncf.tracking.recorded import complete, logged_trials
from ncf.tracking.tracker import Tracker
from ncf.tracking.trial_runs import TrialRecord, write_trial
from ncf.trials.messages import EpochReport, Failure, Outcome

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_FLUSH_SECONDS = 10.0  # how often a running trial is written; a shorter one is written once


def follow(
    events: Iterable[Event],
    earlier: Sequence[FrozenTrial],
    tracker: Tracker,
    mirror: Mirror,
    models: ModelFiles,
    kept: Kept,
) -> Generator[Event, None, None]:
    """Yields the events of a search again, and has the mirror write each trial's run.

    Args:
        events: The events that the coordinator yields.
        earlier: The trials that had ended before; those that MLflow lacks are written too.
        tracker: Writes to MLflow.
        mirror: The queue that the writing is put in.
        models: The files that the trials leave their weights in.
        kept: The trials whose models MLflow is given; those of `earlier` are noted already.
    """

    def put(record: TrialRecord) -> None:
        record.put_at = time.monotonic()
        write = partial(write_trial, record, tracker, models, kept.has)
        mirror.put(f"trial {record.number}", write, is_apart=True)

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
                kept.note(event.trial)
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


def _record_of(trial: FrozenTrial) -> TrialRecord:
    """Returns the record of a trial that ended before."""
    start = time.time() if trial.datetime_start is None else trial.datetime_start.timestamp()
    reports = journal.reports_of(trial)
    return TrialRecord(trial.number, journal.setting_of(trial), start, reports, _end_of(trial))


def _end_of(trial: FrozenTrial) -> Outcome | Failure:
    return journal.outcome_of(trial) if journal.is_trained(trial) else journal.failure_of(trial)
