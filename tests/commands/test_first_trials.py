"""The first trials of a new study begin before MLflow is there, and change nothing by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import pytest

from ncf.commands.first_trials import begin
from ncf.commands.options import Options
from ncf.protocol.splitting import HeldOut, History, Split
from ncf.study import journal
from ncf.study.coordinator import Event, TrialEnded
from ncf.study.storage import open_storage
from tests.study.planted import AnsweringWorkers, outcome, plan_of

NOBODY = HeldOut(np.empty(0, np.int32), np.empty(0, np.int32))
SPLIT = Split(History(np.zeros(1, np.int64), NOBODY.items, 0), NOBODY, NOBODY)
PLAN = plan_of(SPLIT)
LOCAL = Options(tracking_uri="sqlite:///mlflow.db")
SERVER = Options(tracking_uri="http://127.0.0.1:5000")


def open_study(folder: Path) -> optuna.Study:
    return journal.open_study(open_storage(str(folder / "journal")), "x", {})


def answering() -> AnsweringWorkers:
    return AnsweringWorkers(lambda task: outcome(task.number, 0.1 * task.number))


def numbers_of(events: list[Event]) -> list[int]:
    return sorted(event.trial.number for event in events if isinstance(event, TrialEnded))


def never() -> bool:
    return False


@pytest.mark.parametrize(("options", "n_begun"), [(LOCAL, 2), (SERVER, 0)])
def test_a_new_study_begins_unless_a_servers_address_may_be_wrong(
    tmp_path: Path, options: Options, n_begun: int
) -> None:
    workers = answering()
    events = begin(open_study(tmp_path), PLAN, cast(Any, workers), tmp_path, options, never)
    assert len(workers.waiting) == n_begun  # one for each worker, and none has been waited for
    assert numbers_of([*events]) == [0, 1, 2, 3]
    weights = [task.weights for task in workers.tasks]
    assert weights == [tmp_path / f"trial-{number:04d}.safetensors" for number in range(4)]


def test_what_had_begun_where_mlflow_cannot_be_opened_comes_first_then(tmp_path: Path) -> None:
    begin(open_study(tmp_path), PLAN, cast(Any, answering()), tmp_path, LOCAL, never)
    workers = answering()
    events = begin(open_study(tmp_path), PLAN, cast(Any, workers), tmp_path, LOCAL, never)
    assert workers.tasks == []  # MLflow tells first what has to be trained again
    assert numbers_of([*events]) == [0, 1, 2, 3]
    assert [task.number for task in workers.tasks][:2] == [0, 1]


def test_a_study_of_one_trial_begins_with_one(tmp_path: Path) -> None:
    workers = answering()
    begin(
        open_study(tmp_path),
        plan_of(SPLIT, n_trials=1),
        cast(Any, workers),
        tmp_path,
        LOCAL,
        never,
    )
    assert len(workers.waiting) == 1
