"""Which contestant wins, with workers whose outcomes are planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import MODELS
from ncf.protocol.metrics import Objective
from ncf.protocol.splitting import Split
from ncf.study import baselines
from ncf.study.best import best_first, confirm_others, reason
from ncf.study.plan import Plan
from ncf.study.results import Contestant
from ncf.trials.messages import Outcome, Task
from tests.study.planted import AnsweringWorkers, outcome, plan_of, study_with

GMF = Contestant(
    "GMF", 7, Hyperparameters(), {}, 12, {"ndcg_10": 0.6}, "trial 7", seed_values=(0.48, 0.52)
)


def other(name: str, value: float) -> Contestant:
    defaults = MODELS[name].defaults
    return Contestant(name, 3, defaults, {}, 0, {"ndcg_10": value}, "20 settings", is_trial=False)


def names(contestants: list[Contestant]) -> list[str]:
    return [one.name for one in contestants]


def test_the_best_on_validation_wins_or_the_best_trial_where_that_is_asked_for() -> None:
    found = [GMF, other("popularity", 0.1), other("ease", 0.55), other("markov", 0.53)]
    objective = Objective()
    best = best_first(found, "any", objective)
    assert names(best) == ["ease", "GMF", "popularity", "markov"]
    assert reason(best, objective) == (
        "EASE is the winner, the best of all by validation nDCG@10: 0.5500 (deterministic); the "
        "next best is Markov: 0.5300 (deterministic)."
    )
    assert names(best_first(found, "gmf", objective)) == names(found)
    equal = [GMF, other("ease", 0.5)]
    assert names(best_first(equal, "any", objective)) == ["GMF", "ease"]


@pytest.fixture
def plan(split: Split) -> Plan:
    return plan_of(split, n_trials=20)


@pytest.fixture
def study(tmp_path: Path, plan: Plan) -> optuna.Study:
    """A study beside which iALS was tuned: the first of its settings was the luckiest."""
    study = study_with([0.4, 0.6], tmp_path)
    workers = AnsweringWorkers(lambda task: outcome(task.number, 0.58 - task.number / 1000))
    for _ in baselines.tune("ials", study, plan, workers):
        pass
    return study


def test_a_seeded_model_that_could_win_is_trained_again(plan: Plan, study: optuna.Study) -> None:
    tuned = baselines.contestant("ials", study)
    assert tuned is not None
    lucky = tuned.setting

    def answer(task: Task) -> Outcome:
        return outcome(task.number, 0.45 if task.setting == lucky else 0.51)

    workers = AnsweringWorkers(answer)
    ease = other("ease", 0.505)
    first, _, ials = confirm_others([GMF, ease, tuned], study, plan, workers, 2, 3)
    assert len(workers.tasks) == 6
    assert first == GMF
    assert ials.setting != lucky
    assert ials.value(Objective()) == pytest.approx(0.51)
    assert ials.is_confirmed
    assert (ials.name, ials.is_trial, ials.n_settings) == ("ials", False, tuned.n_settings)
    assert ials.note.startswith(f"{tuned.note}, trial ")
    assert confirm_others([GMF, ease, tuned], study, plan, workers, 2, 3)[2] == ials
    assert len(workers.tasks) == 6  # what is recorded is not trained again


def test_one_that_could_not_win_is_left_as_it_is(plan: Plan, study: optuna.Study) -> None:
    tuned = baselines.contestant("ials", study)
    assert tuned is not None
    workers = AnsweringWorkers(lambda task: outcome(task.number, 0.5))
    found = [GMF, other("markov", 0.59), tuned]
    assert confirm_others(found, study, plan, workers, 2, 3) == found
    unconfirmed = [replace(GMF, seed_values=()), tuned]
    assert confirm_others(unconfirmed, study, plan, workers, 0, 3) == unconfirmed
    assert not workers.tasks


def test_the_mixture_is_left_to_its_own_record(plan: Plan, study: optuna.Study) -> None:
    workers = AnsweringWorkers(lambda task: outcome(task.number, 0.5))
    found = [replace(GMF, seed_values=()), other("mixture", 0.65)]
    assert confirm_others(found, study, plan, workers, 2, 3) == found
    assert not workers.tasks
    names = {str(one.study_name) for one in study._storage.get_all_studies()}
    assert names == {"x", "x/ials"}  # and no empty one of a mixture
