"""The tuning of baselines, with workers whose outcomes are planted."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from ncf.models import ials, item_knn
from ncf.models.ials import IALSHyperparameters
from ncf.models.table import MODELS
from ncf.protocol.splitting import HeldOut, History, Split
from ncf.study.baselines import FEWEST, contestant, n_settings_of, that_fit, tune
from ncf.study.plan import Plan
from ncf.trials.messages import Failure, Outcome, Task
from ncf.trials.workers import MAX_FAILURES
from tests.study.planted import AnsweringWorkers, outcome, plan_of, study_with


@pytest.fixture
def plan(split: Split) -> Plan:
    return plan_of(split, n_trials=30)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return study_with([0.3, 0.4, 0.5, 0.45, 0.4, 0.3], tmp_path)


def answer(task: Task) -> Outcome:
    assert isinstance(task.setting, IALSHyperparameters)
    alpha = task.setting.alpha
    return outcome(task.number, -abs(math.log(alpha / 4)), seconds=2.0)


def test_it_gets_as_many_settings_as_the_study_has_trials_and_continues_after_a_kill(
    plan: Plan, study: optuna.Study, tmp_path: Path
) -> None:
    workers = AnsweringWorkers(answer)
    for _ in tune("ials", study, plan, workers):
        pass
    n_settings = 30  # as many as the study has trials
    assert len(workers.tasks) == n_settings
    assert workers.tasks[0].setting == MODELS["ials"].defaults
    best = contestant("ials", study)
    assert best is not None
    assert isinstance(best.setting, IALSHyperparameters)
    assert best.validation["ndcg_10"] == -abs(math.log(best.setting.alpha / 4))
    assert abs(math.log(best.setting.alpha / 4)) < 0.25
    assert best.note.startswith(f"{n_settings} settings in 60 s")

    def answer_until_killed(task: Task) -> Outcome:
        if task.number == 11:  # of 10 and 11, the later answers first
            raise KeyboardInterrupt
        return answer(task)

    (tmp_path / "killed").mkdir()
    killed = study_with([0.3, 0.4, 0.5, 0.45, 0.4, 0.3], tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        for _ in tune("ials", killed, plan, AnsweringWorkers(answer_until_killed)):
            pass
    again = AnsweringWorkers(answer)
    for _ in tune("ials", killed, plan, again):
        pass
    assert contestant("ials", killed) == best
    settings = {task.number: task.setting for task in workers.tasks}
    assert len(again.tasks) < n_settings - 8
    assert all(task.setting == settings[task.number] for task in again.tasks)


def test_popularity_has_one_setting_and_a_baseline_that_always_fails_is_none(
    plan: Plan, study: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    workers = AnsweringWorkers(lambda task: outcome(task.number, 0.2, seconds=0.0))
    for _ in tune("popularity", study, plan, workers):
        pass
    assert len(workers.tasks) == 1
    best = contestant("popularity", study)
    assert best is not None
    assert best.note.startswith("1 setting in")
    failing = AnsweringWorkers(lambda task: Failure(task.number, "no"))
    for _ in tune("itemknn", study, plan, failing):
        pass
    assert contestant("itemknn", study) is None
    assert f"item-kNN: {MAX_FAILURES} in a row failed (item-kNN " in caplog.text
    assert MAX_FAILURES <= len(failing.tasks) <= MAX_FAILURES + 2  # both workers are busy


def test_a_short_study_still_tunes_them(plan: Plan, study: optuna.Study) -> None:
    few = replace(plan, settings=replace(plan.settings, n_trials=4))
    workers = AnsweringWorkers(answer)
    for _ in tune("ials", study, few, workers):
        pass
    assert len(workers.tasks) == FEWEST


def test_a_model_whose_fit_takes_minutes_gets_fewer_settings(
    plan: Plan, study: optuna.Study
) -> None:
    nothing = HeldOut(np.zeros(0, np.int32), np.zeros(0, np.int32))
    one = np.zeros(1, np.int32)
    large = Split(History(np.array([0, 1]), one, 20_000, one), nothing, nothing)
    workers = AnsweringWorkers(lambda task: outcome(task.number, 0.2))
    for _ in tune("ease", study, replace(plan, split=large), workers):
        pass
    assert len(workers.tasks) == 5
    best = contestant("ease", study)
    assert best is not None
    assert best.n_settings == 5


def test_large_sets_try_fewer_settings_of_what_takes_long(plan: Plan) -> None:
    assert [n_settings_of(name, plan) for name in ("itemknn", "ials", "popularity")] == [30, 30, 1]
    n_users = 25_000
    indptr = np.arange(n_users + 1) * 800
    items = np.broadcast_to(np.zeros(1, np.int32), indptr[-1])  # 20 million, in four bytes
    users = np.arange(n_users, dtype=np.int32)
    held_out = HeldOut(users, np.zeros(n_users, np.int32))
    large = replace(plan, split=Split(History(indptr, items, 70_000), held_out, held_out))
    assert n_settings_of("itemknn", large) == 1  # 16 thousand million pairs
    assert n_settings_of("ials", large) == 2
    assert n_settings_of("mixture", large) == 17  # and not 20: 1.75 thousand million scores
    begun_before = large.begun_as({"k": 10})
    assert n_settings_of("itemknn", begun_before) == n_settings_of("ials", begun_before) == 30


def test_too_many_interactions_leave_out_what_would_take_hours() -> None:
    indptr = np.array([0, 400_000])
    items = np.broadcast_to(np.zeros(1, np.int32), 400_000)
    with pytest.raises(ValueError, match=r"160 thousand million pairs .* 19 minutes.*itemknn"):
        item_knn.check_size(History(indptr, items, 500_000))
    items = np.broadcast_to(np.zeros(1, np.int32), 200_000_000)
    with pytest.raises(ValueError, match=r"iALS of 200,000,000 .* 20 minutes.* without ials"):
        ials.check_size(History(np.array([0, len(items)]), items, 500_000))


def test_what_is_too_large_for_the_data_is_left_out_and_the_log_says_why(
    plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("popularity", "ease", "markov")
    assert that_fit(names, plan) == names
    nothing = HeldOut(np.zeros(0, np.int32), np.zeros(0, np.int32))
    one = np.zeros(1, np.int32)
    large = Split(History(np.array([0, 1]), one, 70_000, one), nothing, nothing)
    assert that_fit(names, replace(plan, split=large)) == ("popularity", "markov")
    (line,) = caplog.messages
    assert line.startswith("EASE weighs each of 70,000 items")
    assert "without ease" in line


def test_one_line_says_that_markov_counts_and_their_mixture_are_too_large(
    plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = HeldOut(np.zeros(0, np.int32), np.zeros(0, np.int32))
    n_items = 60_000
    items = np.broadcast_to(np.zeros(1, np.int32), 5_000_000)  # of which each has 30 after it
    large = Split(History(np.array([0, len(items)]), items, n_items, items), nothing, nothing)
    assert that_fit(("markov", "mixture"), replace(plan, split=large)) == ()
    (line,) = caplog.messages
    assert line.startswith("Markov counts of 60,000 items take up to 1.8 GB")
    assert line.endswith("without markov and mixture")
