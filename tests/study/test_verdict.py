"""The fit on train and validation by workers, and test, each reading of which is noted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import pytest
from safetensors.numpy import save_file

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import MODELS
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.splitting import Split
from ncf.study.plan import Plan
from ncf.study.results import Conclusion, Contestant
from ncf.study.verdict import conclude, fit, readings_of
from ncf.trials.messages import Failure, Outcome, Refit
from ncf.trials.workers import MAX_DEATHS
from tests.conftest import planted
from tests.study.planted import AnsweringWorkers, plan_of, study_with

WINNER = Contestant("GMF", 7, Hyperparameters(), {}, 12, {"ndcg_10": 0.5}, "trial 7")
KNN = Contestant(
    "itemknn", 3, MODELS["itemknn"].defaults, {}, 0, {"ndcg_10": 0.3}, "20 settings", is_trial=False
)
DEATH = "worker died: signal SIGKILL"


@pytest.fixture
def plan(split: Split) -> Plan:
    whole, test = split.whole, split.test
    candidates = draw_candidates(
        whole.indptr, whole.items, whole.n_items, test.users, test.items, 40, seed=2
    )
    data = planted(160, 80, seed=1)  # of which `split` is made
    return replace(plan_of(split), interactions=data, test_candidates=candidates)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return study_with([0.3, 0.4], tmp_path)


def fit_popularity(task: Any) -> Outcome:
    """Answers as a worker that leaves the model of everyone's most popular items."""
    scores = np.arange(80.0) if task.number else np.arange(80.0, 0, -1)
    save_file({"popularity": np.ascontiguousarray(scores)}, task.weights)
    return outcome(task.number)


def concluded(
    study: optuna.Study, plan: Plan, folder: Path, *contestants: Contestant
) -> Conclusion:
    workers = AnsweringWorkers(fit_popularity)
    return conclude(study, plan, workers, folder, contestants, "")


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


def test_each_reading_of_test_is_noted_and_a_second_one_is_told(
    study: optuna.Study, plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = concluded(study, plan, tmp_path, WINNER, KNN)
    (reading,) = first.readings
    assert (reading.what, reading.why) == ("GMF trial 7, item-kNN trial 3", "the study's end")
    assert first.reading == "read once"
    assert concluded(study, plan, tmp_path, WINNER, KNN).readings == first.readings
    shutil.rmtree(first.folder)  # the same contestants, judged again: nothing new is learned
    again = concluded(study, plan, tmp_path, WINNER, KNN)
    assert (again.results, again.readings) == (first.results, first.readings)
    assert not caplog.messages

    other = replace(WINNER, number=9)
    second = concluded(study, plan, tmp_path, other, KNN)
    assert second.readings[0] == reading
    assert second.readings[1].what == "GMF trial 9, item-kNN trial 3"
    assert second.reading == "reading 2"
    (line,) = caplog.messages
    assert line.startswith("Test was read before, on 20")
    assert line.endswith("; this is reading 2 (the study was continued after it had read test)")
    assert readings_of(optuna.load_study(study_name="x", storage=study._storage)) == [
        *second.readings
    ]


def test_a_conclusion_of_before_readings_were_noted_is_the_first(
    study: optuna.Study, plan: Plan, tmp_path: Path
) -> None:
    assert readings_of(study) == []
    concluded(study, plan, tmp_path, WINNER, KNN)
    study.set_user_attr("test_readings", None)  # as an older version left it
    old = study.user_attrs["conclusion"]
    (reading,) = readings_of(study)
    assert (reading.at, reading.what) == (old["at"], "GMF, itemknn")
    assert concluded(study, plan, tmp_path, replace(WINNER, number=9)).reading == "reading 2"


def test_each_is_compared_with_the_winner_on_both_kinds_of_candidates(
    study: optuna.Study, plan: Plan, tmp_path: Path
) -> None:
    conclusion = concluded(study, plan, tmp_path, WINNER, KNN)
    winner, knn = conclusion.results
    assert winner.difference is None
    assert winner.difference_full is None
    for difference, (ours, theirs) in (
        (knn.difference, (winner.test, knn.test)),
        (knn.difference_full, (winner.test_full, knn.test_full)),
    ):
        assert difference is not None
        mean, low, high, _ = difference
        assert mean == pytest.approx(ours["ndcg_10"] - theirs["ndcg_10"])
        assert low <= mean <= high


def test_the_others_are_shown_the_best_on_validation_first(
    study: optuna.Study, plan: Plan, tmp_path: Path
) -> None:
    markov = Contestant(
        "markov", 1, MODELS["markov"].defaults, {}, 0, {"ndcg_10": 0.4}, "", is_trial=False
    )
    for _ in range(2):  # as it is concluded, and as it is read from the record
        conclusion = concluded(study, plan, tmp_path, WINNER, KNN, markov)
        assert [one.name for one in conclusion.contestants] == ["GMF", "markov", "itemknn"]
        assert [one.name for one in conclusion.results] == ["GMF", "markov", "itemknn"]
