"""Trials' runs in a real store, written from the stream of a search's events."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import mlflow
import optuna
import pytest
from mlflow.entities import Run

from ncf.study import journal
from ncf.study.coordinator import Coordinator, Event, Space, TrialEnded
from ncf.study.experiment import DataFacts
from ncf.study.storage import open_storage
from ncf.tracking.kept import Kept
from ncf.tracking.logged_models import ModelFiles
from ncf.tracking.mirror import Mirror
from ncf.tracking.tracker import Tracker
from ncf.tracking.trial_events import follow
from tests.study.test_coordinator import EXPERIMENT, PLAN, PlantedWorkers, search_space

N_TRIALS = 5


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return journal.open_study(open_storage(str(tmp_path / "journal")), "toy", {})


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[Tracker]:
    before = mlflow.get_tracking_uri()
    facts = DataFacts("toy", "0123456789abcdef", {"users": 3})
    made = Tracker(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "toy", facts)
    made.start_study("toy", "id-of-toy", {})
    yield made
    mlflow.set_tracking_uri(before)


def events_of(study: optuna.Study) -> Generator[Event, None, None]:
    space = Space("trial", EXPERIMENT.defaults, search_space, 0, N_TRIALS)
    return Coordinator(study, space, PLAN).run(PlantedWorkers(2))


def written(
    study: optuna.Study, tracker: Tracker, folder: Path, stop_after: int | None = None
) -> dict[int, Run]:
    """Follows a search, up to a number of ended trials; returns the trials' runs."""
    mirror = Mirror()
    models = ModelFiles(folder, cast(Any, None), "")
    ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    kept = Kept(None, N_TRIALS)
    n_ended = 0
    with closing(follow(events_of(study), ended, tracker, mirror, models, kept)) as events:
        for event in events:
            n_ended += isinstance(event, TrialEnded)
            if n_ended == stop_after:
                break
    assert mirror.finish(60.0) == ""
    runs = tracker.runs("tags.`ncf.trial` != ''")
    return {int(run.data.tags["ncf.trial"]): run for run in runs}


def test_every_trial_has_a_run_with_each_of_its_epochs_once(
    study: optuna.Study, tracker: Tracker, tmp_path: Path
) -> None:
    runs = written(study, tracker, tmp_path)
    for trial in study.get_trials():
        run = runs[trial.number]
        history = tracker.client.get_metric_history(run.info.run_id, "validation/ndcg_10")
        assert {m.step: m.value for m in history} == trial.intermediate_values
        assert run.data.params["learning_rate"] == str(trial.params["learning_rate"])
        assert run.data.tags["ncf.state"] == "finished"


def test_what_the_store_lacks_is_written_from_the_record(
    study: optuna.Study, tracker: Tracker, tmp_path: Path
) -> None:
    for _ in events_of(study):
        pass
    runs = written(study, tracker, tmp_path)
    assert sorted(runs) == [*range(N_TRIALS)]
    again = written(study, tracker, tmp_path)  # and once only
    assert {n: run.info.run_id for n, run in again.items()} == {
        n: run.info.run_id for n, run in runs.items()
    }


def test_trials_that_were_interrupted_are_closed_as_that(
    study: optuna.Study, tracker: Tracker, tmp_path: Path
) -> None:
    runs = written(study, tracker, tmp_path, stop_after=3)
    states = {number: run.data.tags["ncf.state"] for number, run in runs.items()}
    ended = {t.number for t in study.get_trials() if t.state.is_finished()}
    assert {number for number, state in states.items() if state == "finished"} == ended
    assert {state for number, state in states.items() if number not in ended} == {"interrupted"}
    assert len(states) > len(ended)
