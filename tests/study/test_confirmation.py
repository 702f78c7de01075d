"""Confirmation by fresh seeds, with workers whose outcomes are planted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.splitting import Split
from ncf.study.confirmation import choose, confirm
from ncf.study.plan import Plan
from ncf.study.results import Confirmed
from ncf.trials.messages import Failure, Outcome, Task
from ncf.trials.workers import MAX_DEATHS
from tests.study.planted import AnsweringWorkers, outcome, plan_of, study_with


@pytest.fixture
def plan(split: Split) -> Plan:
    return plan_of(split)


def test_the_luckiest_trial_is_not_the_best_and_confirmation_finds_the_better_one(
    plan: Plan,
) -> None:
    study = study_with([0.30, 0.50, 0.45, 0.44])  # trial 1 was lucky
    truth = {11: 0.40, 12: 0.45, 13: 0.43}  # by embedding_dim

    def answer(task: Task) -> Outcome:
        assert isinstance(task.setting, Hyperparameters)
        noise = 0.02 * np.random.default_rng(task.seed).uniform(-1, 1)
        return outcome(task.number, truth[task.setting.embedding_dim] + noise)

    workers = AnsweringWorkers(answer)
    confirmed = confirm(study, plan, workers, 3, 4)
    assert confirmed[0].number == 2
    assert [one.mean for one in confirmed] == sorted((one.mean for one in confirmed), reverse=True)
    for one in confirmed:
        assert one.mean == pytest.approx(truth[10 + one.number], abs=0.02)
        assert len(set(one.values)) == 4  # each seed is another
    for task in workers.tasks:
        assert isinstance(task, Task)
        assert task.stop_below == (-math.inf,) * task.epochs
    winner = choose(study, confirmed)
    assert (winner.name, winner.number, winner.epochs) == ("GMF", 2, 7)
    assert choose(study, []).number == 1


def test_what_was_confirmed_is_not_trained_again(plan: Plan) -> None:
    study = study_with([0.3, 0.5, 0.45])
    workers = AnsweringWorkers(lambda task: outcome(task.number, 0.4))
    first = confirm(study, plan, workers, 2, 2)
    assert len(workers.tasks) == 4
    assert confirm(study, plan, workers, 2, 2) == first
    assert len(workers.tasks) == 4
    confirm(study, plan, workers, 3, 2)  # one more trial
    assert len(workers.tasks) == 6
    assert confirm(study, plan, workers, 0, 2) == []


def test_a_seed_that_fails_is_left_out(plan: Plan) -> None:
    failing = iter([True, False, False])

    def answer(task: Task) -> Outcome | Failure:
        return Failure(task.number, "no") if next(failing) else outcome(task.number, 0.4)

    (one,) = confirm(study_with([0.3, 0.5]), plan, AnsweringWorkers(answer), 1, 3)
    assert one.values == (0.4, 0.4)


def test_what_a_worker_died_of_is_tried_again(plan: Plan) -> None:
    deaths = {1: 1, 2: MAX_DEATHS}  # by task: one that dies once, one that always does

    def answer(task: Task) -> Outcome | Failure:
        deaths[task.number] = deaths.get(task.number, 0) - 1
        if deaths[task.number] >= 0:
            return Failure(task.number, "worker died", died=True)
        return outcome(task.number, 0.1 * task.number)

    workers = AnsweringWorkers(answer)
    (one,) = confirm(study_with([0.3]), plan, workers, 1, 4)
    assert one.values == pytest.approx((0.0, 0.1, 0.3))
    assert len(workers.tasks) == 4 + 1 + MAX_DEATHS - 1


def test_mean_deviation_and_median_epoch() -> None:
    outcomes = tuple(outcome(0, 0.4, best_epoch) for best_epoch in (3, 9, 4))
    one = Confirmed(0, Hyperparameters(), outcomes, (0.3, 0.4, 0.5))
    assert one.best_epoch == 4
    assert one.mean == pytest.approx(0.4)
    assert one.sd == pytest.approx(0.1)
    assert math.isnan(Confirmed(0, Hyperparameters(), outcomes[:1], (0.3,)).sd)


def test_a_study_without_a_finished_trial_has_no_winner() -> None:
    with pytest.raises(RuntimeError, match="no finished trial"):
        choose(study_with([]), [])
