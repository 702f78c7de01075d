"""Confirmation and tuning, with workers whose outcomes are planted."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.ials import IALSHyperparameters
from ncf.models.table import MODELS
from ncf.protocol.splitting import Split
from ncf.search.contest import Confirmed, confirm, tune
from ncf.search.coordinator import MAX_DEATHS, MAX_FAILURES, Settings
from ncf.search.experiment import Experiment
from ncf.search.plan import Prepared
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import Failure, Outcome, Task

Answer = Callable[[Any], Outcome | Failure]  # of a Task, or of the Refit of test_winner.py


class PlantedWorkers:
    """Two workers that answer at once."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.tasks: list[Task] = []
        self.waiting: list[Task] = []

    @property
    def n_idle(self) -> int:
        return 2 - len(self.waiting)

    def submit(self, task: Task) -> None:
        assert self.n_idle > 0
        self.tasks.append(task)
        self.waiting.append(task)

    def receive(self, timeout: float | None = None) -> list[Outcome | Failure]:
        return [self.answer(self.waiting.pop())]  # the last first: order must not matter


def outcome(number: int, value: float, best_epoch: int = 7, seconds: float = 1.0) -> Outcome:
    return Outcome(number, False, 9, best_epoch, {"ndcg_10": value}, {}, seconds, 0.0)


def planted_workers(answer: Answer) -> tuple[PlantedWorkers, LocalWorkers]:
    workers = PlantedWorkers(answer)
    return workers, cast(LocalWorkers, workers)


@pytest.fixture
def prepared(split: Split) -> Prepared:
    experiment = Experiment("x", "x", Hyperparameters(), lambda _: Hyperparameters())
    settings = Settings(n_trials=4, seed=0, k=10, device="cpu", timeout=None)
    nothing = np.zeros((0, 2), np.int32)
    return Prepared(
        "x", experiment, settings, cast(Any, None), split, "", {}, nothing, nothing
    )  # fmt: skip


def study_with(values: list[float]) -> optuna.Study:
    """Returns a study of trials with these values; trial t has embedding_dim 10 + t."""
    study = optuna.create_study(direction="maximize")
    for number, value in enumerate(values):
        setting = {"embedding_dim": 10 + number}
        attributes = {"hyperparameters": setting, "outcome": {}}
        study.add_trial(create_trial(value=value, user_attrs=attributes))
    study.add_trial(create_trial(state=TrialState.FAIL))
    return study


def test_the_luckiest_trial_is_not_the_best_and_confirmation_finds_the_better_one(
    prepared: Prepared, tmp_path: Path
) -> None:
    study = study_with([0.30, 0.50, 0.45, 0.44])  # trial 1 was lucky
    truth = {11: 0.40, 12: 0.45, 13: 0.43}  # of embedding_dim

    def answer(task: Task) -> Outcome:
        assert isinstance(task.hyperparameters, Hyperparameters)
        noise = 0.02 * np.random.default_rng(task.seed).uniform(-1, 1)
        return outcome(task.number, truth[task.hyperparameters.embedding_dim] + noise)

    workers, as_local = planted_workers(answer)
    confirmed = list(confirm(study, prepared, as_local, tmp_path, 3, 4))
    assert [one.number for one in confirmed] == [1, 2, 3]  # by their first values
    assert max(confirmed, key=lambda one: one.mean).number == 2
    for one in confirmed:
        assert one.mean == pytest.approx(truth[10 + one.number], abs=0.02)
        assert len(set(one.values)) == 4  # each seed is another
    assert all(task.stop_below == (-math.inf,) * task.epochs for task in workers.tasks)


def test_what_was_confirmed_is_not_trained_again(prepared: Prepared, tmp_path: Path) -> None:
    study = study_with([0.3, 0.5, 0.45])
    workers, as_local = planted_workers(lambda task: outcome(task.number, 0.4))
    first = list(confirm(study, prepared, as_local, tmp_path, 2, 2))
    assert len(workers.tasks) == 4
    assert list(confirm(study, prepared, as_local, tmp_path, 2, 2)) == first
    assert len(workers.tasks) == 4
    list(confirm(study, prepared, as_local, tmp_path, 3, 2))  # one more trial
    assert len(workers.tasks) == 6
    assert list(confirm(study, prepared, as_local, tmp_path, 0, 2)) == []


def test_a_seed_that_fails_is_left_out(prepared: Prepared, tmp_path: Path) -> None:
    study = study_with([0.3, 0.5])
    failing = iter([True, False, False])

    def answer(task: Task) -> Outcome | Failure:
        return Failure(task.number, "no") if next(failing) else outcome(task.number, 0.4)

    _, as_local = planted_workers(answer)
    (one,) = confirm(study, prepared, as_local, tmp_path, 1, 3)
    assert one.values == (0.4, 0.4)


def test_mean_deviation_and_median_epoch() -> None:
    outcomes = tuple(outcome(0, 0.4, best_epoch) for best_epoch in (3, 9, 4))
    one = Confirmed(0, outcomes, (0.3, 0.4, 0.5))
    assert one.best_epoch == 4
    assert one.mean == pytest.approx(0.4)
    assert one.sd == pytest.approx(0.1)
    assert math.isnan(Confirmed(0, outcomes[:1], (0.3,)).sd)


def test_a_baseline_is_tuned_until_its_budget_is_spent_and_continues_after_a_kill(
    prepared: Prepared, tmp_path: Path
) -> None:
    def answer(task: Task) -> Outcome:
        assert isinstance(task.hyperparameters, IALSHyperparameters)
        alpha = task.hyperparameters.alpha
        return outcome(task.number, -abs(math.log(alpha / 4)), seconds=2.0)

    def answer_until_killed(task: Task) -> Outcome:
        if task.number == 11:  # of 10 and 11, the later answers first
            raise KeyboardInterrupt
        return answer(task)

    whole, killed = study_with([]), study_with([])
    workers, as_local = planted_workers(answer)
    tuned = tune("ials", whole, prepared, as_local, tmp_path, budget=40.0)
    assert tuned is not None
    assert 20 <= tuned.n_trials <= 22  # two workers may each be at one more
    assert workers.tasks[0].hyperparameters == MODELS["ials"].defaults
    assert isinstance(tuned.setting, IALSHyperparameters)
    assert tuned.outcome.metrics["ndcg_10"] == -abs(math.log(tuned.setting.alpha / 4))
    assert abs(math.log(tuned.setting.alpha / 4)) < 0.25

    _, to_be_killed = planted_workers(answer_until_killed)
    with pytest.raises(KeyboardInterrupt):
        tune("ials", killed, prepared, to_be_killed, tmp_path, budget=40.0)
    again, as_local = planted_workers(answer)
    continued = tune("ials", killed, prepared, as_local, tmp_path, budget=40.0)
    assert continued is not None
    assert (continued.setting, continued.outcome) == (tuned.setting, tuned.outcome)
    settings = {task.number: task.hyperparameters for task in workers.tasks}
    assert 8 <= len(again.tasks) < len(workers.tasks) - 8
    assert all(task.hyperparameters == settings[task.number] for task in again.tasks)


def test_popularity_has_one_setting_and_a_baseline_that_always_fails_is_none(
    prepared: Prepared, tmp_path: Path
) -> None:
    workers, as_local = planted_workers(lambda task: outcome(task.number, 0.2, seconds=0.0))
    assert tune("popularity", study_with([]), prepared, as_local, tmp_path, budget=1e9) is not None
    assert len(workers.tasks) == 1
    failing, as_local = planted_workers(lambda task: Failure(task.number, "no"))
    assert tune("itemknn", study_with([]), prepared, as_local, tmp_path, budget=1e9) is None
    assert MAX_FAILURES <= len(failing.tasks) <= MAX_FAILURES + 1


def test_what_a_worker_died_of_is_tried_again(prepared: Prepared, tmp_path: Path) -> None:
    deaths = {1: 1, 2: MAX_DEATHS}  # by task: one that dies once, one that always does

    def answer(task: Task) -> Outcome | Failure:
        deaths[task.number] = deaths.get(task.number, 0) - 1
        if deaths[task.number] >= 0:
            return Failure(task.number, "worker died", died=True)
        return outcome(task.number, 0.1 * task.number)

    workers, as_local = planted_workers(answer)
    (one,) = confirm(study_with([0.3]), prepared, as_local, tmp_path, 1, 4)
    assert one.values == pytest.approx((0.0, 0.1, 0.3))
    assert len(workers.tasks) == 4 + 1 + MAX_DEATHS - 1
