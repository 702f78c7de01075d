"""The mixture as a contestant, with workers whose outcomes are planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.markov import MarkovHyperparameters
from ncf.models.mixture import MixtureHyperparameters
from ncf.models.table import MODELS
from ncf.protocol.metrics import Objective
from ncf.protocol.seeds import Purpose, spawn
from ncf.protocol.splitting import Split
from ncf.study import mixing
from ncf.study.confirmation import choose, confirm
from ncf.study.plan import Plan
from ncf.study.results import Contestant
from ncf.study.verdict import fit
from ncf.trials.messages import Failure, Outcome, Refit, Task
from tests.study.planted import AnsweringWorkers, outcome, plan_of, study_with

COUNTS = MarkovHyperparameters(0.9, 0.6, 0.4, 1.1)
MARKOV = Contestant("markov", 3, COUNTS, {}, 0, {"ndcg_10": 0.4}, "20 settings", is_trial=False)


@pytest.fixture
def plan(split: Split) -> Plan:
    return plan_of(split, n_trials=30)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return study_with([0.3, 0.5, 0.4], tmp_path)


def answer(task: Task) -> Outcome:
    """Answers as a worker: the more a mixture weighs the counts, up to .3, the better it is."""
    if task.weights is not None:
        task.weights.write_bytes(b"a model")
    if isinstance(task.setting, MixtureHyperparameters):
        assert task.beside is not None
        assert task.beside.exists()
        return outcome(task.number, 0.6 - abs(task.setting.weight - 0.3))
    assert task.beside is None
    return outcome(task.number, 0.5)


def contest(
    study: optuna.Study,
    plan: Plan,
    folder: Path,
    reply: Callable[[Task], Outcome | Failure],
    n_trials: int = 1,
    n_seeds: int = 2,
) -> tuple[Contestant | None, list[Task]]:
    """Confirms the best trial by fresh seeds and tunes the mixture; returns it and the tasks."""
    workers = AnsweringWorkers(reply)
    files = lambda number, index: mixing.weights_of(folder, number, index)  # noqa: E731
    best = choose(study, confirm(study, plan, workers, n_trials, n_seeds, files))
    for _ in mixing.tune(best, MARKOV, study, plan, workers, folder, n_trials and 3):
        pass
    tasks = [task for task in workers.tasks if isinstance(task, Task)]
    return mixing.contestant(best, study, plan), tasks


def test_it_is_tuned_with_the_best_trial_and_confirmed_with_its_fresh_seeds(
    study: optuna.Study, plan: Plan, tmp_path: Path
) -> None:
    found, tasks = contest(study, plan, tmp_path, answer)
    assert found is not None
    mixtures = [task for task in tasks if isinstance(task.setting, MixtureHyperparameters)]
    others = [task for task in tasks if isinstance(task.setting, Hyperparameters)]
    assert len(others) == 2 + 1  # the fresh seeds, and the seed of the search
    assert others[-1].seed.spawn_key == spawn(0, Purpose.TRIAL, 1).spawn_key
    assert len(mixtures) == 20 + 3 * 2
    assert mixtures[0].setting == MixtureHyperparameters(0.2, 0.9, 0.6, 0.4, 1.1)
    used = [task.beside for task in mixtures]
    assert used[:20] == [mixing.weights_of(tmp_path, 1, -1)] * 20
    assert sorted(map(str, used[20:])) == sorted(
        str(mixing.weights_of(tmp_path, 1, index)) for index in (0, 1) for _ in range(3)
    )
    assert not [*tmp_path.glob("beside-*")]  # nothing is left of the models
    assert isinstance(found.setting, MixtureHyperparameters)
    assert found.value(Objective()) == 0.6 - abs(found.setting.weight - 0.3) > 0.5
    assert found.is_confirmed
    assert (found.name, found.epochs, found.is_trial, found.n_settings) == ("mixture", 0, False, 20)
    assert found.note.startswith("GMF trial 1 with Markov counts, 20 settings in ")
    assert contest(study, plan, tmp_path, answer) == (found, [])  # nothing is trained again


def test_it_has_as_many_fresh_seeds_as_its_trial_and_forgets_none(
    study: optuna.Study, plan: Plan, tmp_path: Path
) -> None:
    def seeds_of(found: Contestant | None) -> int:
        assert found is not None
        return len(found.seed_values)

    first, _ = contest(study, plan, tmp_path, answer, n_trials=0)  # as `--confirm 0`
    assert seeds_of(first) == 0
    confirmed, _ = contest(study, plan, tmp_path, answer)
    assert seeds_of(confirmed) == 2
    again, tasks = contest(study, plan, tmp_path, answer, n_trials=0)
    assert (again, tasks) == (first, [])  # neither is judged by the fresh seeds
    assert contest(study, plan, tmp_path, answer) == (confirmed, [])  # of which none is forgotten
    more, _ = contest(study, plan, tmp_path, answer, n_seeds=4)
    assert seeds_of(more) == 4
    fewer, tasks = contest(study, plan, tmp_path, answer, n_seeds=3)  # the trial has four as well
    assert (fewer, tasks) == (more, [])


def test_one_without_fresh_seeds_is_not_held_against_a_mean(
    study: optuna.Study, plan: Plan, tmp_path: Path
) -> None:
    contest(study, plan, tmp_path, answer, n_trials=0)

    def fail(task: Task) -> Outcome | Failure:
        is_mixture = isinstance(task.setting, MixtureHyperparameters)
        return Failure(task.number, "no room") if is_mixture else answer(task)

    assert contest(study, plan, tmp_path, fail)[0] is None


def test_a_search_that_was_killed_goes_on_with_models_that_are_trained_again(
    study: optuna.Study, plan: Plan, tmp_path: Path
) -> None:
    def killed(task: Task) -> Outcome:
        if isinstance(task.setting, MixtureHyperparameters) and task.number == 11:
            raise KeyboardInterrupt
        return answer(task)

    with pytest.raises(KeyboardInterrupt):
        contest(study, plan, tmp_path, killed)
    for file in tmp_path.glob("beside-*"):
        file.unlink()
    found, tasks = contest(study, plan, tmp_path, answer)
    (tmp_path / "other").mkdir()
    other = study_with([0.3, 0.5, 0.4], tmp_path / "other")
    whole, _ = contest(other, plan, tmp_path, answer)
    assert found is not None
    assert whole is not None
    assert replace(found, note="") == replace(whole, note="")
    assert len([task for task in tasks if task.beside is None]) == 3


def test_without_a_model_there_is_no_mixture(
    study: optuna.Study, plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(task: Task) -> Outcome | Failure:
        is_searched = task.seed.spawn_key == spawn(0, Purpose.TRIAL, 1).spawn_key
        return Failure(task.number, "no room") if is_searched else answer(task)

    found, _ = contest(study, plan, tmp_path, fail)
    assert found is None
    assert "mixture: trial 1 could not be trained again: no room" in caplog.messages


def test_it_is_fitted_when_the_best_trial_is(plan: Plan, tmp_path: Path) -> None:
    done: list[int] = []

    def reply(task: Refit) -> Outcome:
        if task.number == 0:
            assert task.beside == tmp_path / "refit-2.safetensors"
            assert sorted(done) == [1, 2]
        else:
            assert task.beside is None
        done.append(task.number)
        return outcome(task.number, 0.0)

    setting = MODELS["mixture"].defaults
    mixture = Contestant("mixture", 4, setting, {}, 0, {}, "20 settings", is_trial=False)
    best = Contestant("GMF", 7, Hyperparameters(), {}, 12, {}, "trial 7")
    fit([mixture, MARKOV, best], plan, AnsweringWorkers(reply), tmp_path)
    assert len(done) == 3
