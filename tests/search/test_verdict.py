"""The fit on train and validation, by workers; what is read on test is in `test_search.py`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import MODELS
from ncf.protocol.splitting import Split
from ncf.search.plan import Plan
from ncf.search.results import Contestant
from ncf.search.verdict import fit
from ncf.trials.messages import Failure, Outcome, Refit
from ncf.trials.workers import MAX_DEATHS
from tests.search.planted import AnsweringWorkers, plan_of

WINNER = Contestant("GMF", 7, Hyperparameters(), {}, 12, {}, "trial 7")
KNN = Contestant("itemknn", 3, MODELS["itemknn"].defaults, {}, 0, {}, "20 settings")
DEATH = "worker died: signal SIGKILL"


@pytest.fixture
def plan(split: Split) -> Plan:
    return plan_of(split)


def outcome(number: int) -> Outcome:
    return Outcome(number, False, 12, 12, {}, {}, 1.0, 0.0)


def test_each_contestant_is_fitted_by_its_setting(plan: Plan) -> None:
    workers = AnsweringWorkers(lambda task: outcome(task.number))
    files = fit([WINNER, KNN], plan, workers, Path("folder"))
    winner, knn = cast(list[Refit], workers.tasks)
    assert (winner.setting, winner.epochs) == (WINNER.setting, 12)
    assert knn.setting == KNN.setting
    assert [winner.weights, knn.weights] == files
    assert winner.seed.spawn_key != knn.seed.spawn_key


def test_a_worker_that_dies_costs_nothing_and_an_error_is_the_searchs(plan: Plan) -> None:
    waiting: list[Outcome | Failure] = [Failure(0, DEATH, died=True), outcome(0)]
    workers = AnsweringWorkers(lambda _: waiting.pop(0))
    fit([WINNER], plan, workers, Path())
    assert len(workers.tasks) == 2
    always = AnsweringWorkers(lambda _: Failure(0, DEATH, died=True))
    with pytest.raises(RuntimeError, match=r"GMF \(trial 7\) could not be fitted .* worker died"):
        fit([WINNER], plan, always, Path())
    assert len(always.tasks) == MAX_DEATHS
    with pytest.raises(RuntimeError, match=r"could not be fitted .* FloatingPointError"):
        fit(
            [WINNER],
            plan,
            AnsweringWorkers(lambda _: Failure(0, "FloatingPointError: diverged")),
            Path(),
        )
