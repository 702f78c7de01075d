"""The runs of fresh seeds and of other contestants, each written once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mlflow.entities import Run

from ncf.models.table import describe
from ncf.protocol.metrics import Objective
from ncf.study import mixing
from ncf.study.best import title_of
from ncf.study.results import Confirmed, Contestant
from ncf.tracking import notes
from ncf.tracking.entities import params_of, rounded, tags_of
from ncf.tracking.outcome_metrics import (
    CONFIRMED,
    RANK,
    best_metrics,
    best_name,
    confirmed_metrics,
    spent_seconds,
)
from ncf.tracking.recorded import was_trained
from ncf.tracking.tag_names import (
    MODEL_TAG,
    NOTE_TAG,
    PARENT_TAG,
    STATE_TAG,
    TRIAL_TAG,
    WINNER_TAG,
)
from ncf.tracking.tracker import Tracker

_N_RANKED = 200  # runs; those of bigger studies come after them, the latest first
WON = "**Winner of "  # what the Markdown of a winner's run begins with

_ON_TEST = (
    "The metrics on test are those of the same setting fitted on validation too, which was done "
    "after the last trial; the model of this run was fitted on train alone."
)


def log_confirmation(tracker: Tracker, confirmed: Confirmed) -> None:
    """Logs a child run for each fresh seed of a trial, and their mean to the trial's run."""
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
    at = max(outcome.time for outcome in confirmed.outcomes)
    summary = confirmed_metrics(confirmed.values)
    run_id = run_of_trial(tracker, number)
    tracker.client.log_batch(run_id, metrics=tracker.metrics(rounded(summary), 0, at))


def run_of_trial(tracker: Tracker, number: int) -> str:
    """Returns the id of the run of a trial that has ended.

    Raises:
        LookupError: MLflow has none yet.
    """
    for run in tracker.runs(f"tags.`{TRIAL_TAG}` = '{number}'"):
        if was_trained(run):
            return str(run.info.run_id)
    raise LookupError(f"the run of trial {number} is not written yet")


def log_contestant(
    tracker: Tracker,
    contestant: Contestant,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    note: str,
    at: float,
) -> str:
    """Logs what came of a contestant on test; returns the id of the run that has it.

    The run of the best trial is that of the trial. A baseline has a child run of its own.

    Args:
        tracker: Writes to MLflow.
        contestant: The contestant.
        metrics: Its metrics.
        tags: Its tags, such as the intervals of its metrics.
        note: The Markdown that describes it.
        at: When test was read, in seconds since 1970.
    """
    if contestant.is_trial:
        run_id = run_of_trial(tracker, contestant.number)
        of_test = {name: value for name, value in metrics.items() if name.startswith("test")}
        logged = tracker.metrics(rounded(of_test), 0, at)
        tracker.client.log_batch(run_id, metrics=logged, tags=tags_of(tags))
        before = tracker.client.get_run(run_id).data.tags.get(NOTE_TAG, "")
        if _ON_TEST not in before:
            tracker.set_tags(run_id, {NOTE_TAG: f"{before}\n\n{_ON_TEST}"})
        return run_id
    key, title = f"baseline-{contestant.name}", title_of(contestant)
    name = title if contestant.name == mixing.NAME else f"baseline {title}"
    tags = {MODEL_TAG: contestant.name, **tags}
    run_id = _log_child(tracker, key, name, asdict(contestant.setting), metrics, note, at, at)
    tracker.set_tags(run_id, tags)
    return run_id


def crown(tracker: Tracker, winner: str, won: str, note: str) -> None:
    """Marks the run of the winner, and no other run of the study, as the winner's.

    Args:
        tracker: Writes to MLflow.
        winner: The id of its run.
        won: The value of the tag: its registered version.
        note: The sentence at the top of its page.
    """
    for run in tracker.runs(f"tags.`{WINNER_TAG}` != ''"):
        run_id = str(run.info.run_id)
        if run_id != winner:
            tracker.set_tags(run_id, {NOTE_TAG: _uncrowned(run)})
            tracker.client.delete_tag(run_id, WINNER_TAG)
    rest = _uncrowned(tracker.client.get_run(winner))
    tracker.set_tags(winner, {WINNER_TAG: won, NOTE_TAG: f"{note}\n\n{rest}"})


def rank(tracker: Tracker, winner: str, objective: Objective) -> None:
    """Gives the winner's run rank 1, and then the best of the study's other runs theirs.

    The UI orders runs by one metric alone, and pins no child run, so that the winner would not be
    the first where another trial was luckier.
    """
    found = {}
    for run in tracker.runs(f"tags.`{MODEL_TAG}` != ''"):
        metrics = run.data.metrics
        value = metrics.get(CONFIRMED, metrics.get(best_name(objective)))
        if value is not None and was_trained(run):
            found[str(run.info.run_id)] = value, metrics.get(RANK)
    ranking = sorted(found, key=lambda run_id: (run_id != winner, -found[run_id][0]))
    for number, run_id in enumerate(ranking[:_N_RANKED], start=1):
        if found[run_id][1] != number:
            ranked = tracker.metrics({RANK: number}, 0, time.time())
            tracker.client.log_batch(run_id, metrics=ranked)


def _uncrowned(run: Run) -> str:
    """Returns a run's Markdown without the paragraph that says that it won."""
    note = run.data.tags.get(NOTE_TAG, "")
    return note.partition("\n\n")[2] if note.startswith(WON) else note


def _log_child(
    tracker: Tracker,
    key: str,
    name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    note: str,
    start: float,
    end: float,
) -> str:
    """Makes a run of the study and closes it, unless an equal one is there; returns its id."""
    metrics = rounded(metrics)
    condition = f"tags.`{tracker.finding.key}` = '{key}' and attributes.status = 'FINISHED'"
    for run in tracker.runs(condition):
        known = run.data.metrics
        common = metrics.keys() & known.keys()
        run_id = str(run.info.run_id)
        if common and all(known[name] == metrics[name] for name in common):
            # An earlier call has written it, or an older version with fewer metrics.
            more = {name: metrics[name] for name in metrics.keys() - common}
            tracker.client.log_batch(run_id, metrics=tracker.metrics(more, 0, end))
            return run_id
        if MODEL_TAG in run.data.tags:  # an earlier reading of test, which the view is to leave out
            tracker.client.delete_tag(run_id, MODEL_TAG)
    tags = {PARENT_TAG: tracker.parent, NOTE_TAG: note, **tracker.source_tags}
    run_id = tracker.create_run(key, name, tags, start)
    tracker.client.log_batch(
        run_id,
        metrics=tracker.metrics(metrics, 0, end),
        params=params_of(params),
        tags=tags_of({STATE_TAG: "finished"}),
    )
    tracker.client.set_terminated(run_id, "FINISHED", int(end * 1000))
    return run_id
