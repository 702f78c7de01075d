"""One trial: when it stops, what it keeps and what it reports.

`Curve` replaces the training by a model whose rank on validation is known in every epoch: users
have item 0 held out against items 1 to 20, and a bias puts rank - 1 of these above it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from safetensors.numpy import load_file

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.model import Epoch
from ncf.models.table import BASELINES, MODELS, fit
from ncf.protocol.metrics import Objective, summarize
from ncf.protocol.ranks import Sample, full_ranks, sampled_ranks, some_users
from ncf.protocol.seeds import Purpose, spawn
from ncf.protocol.splitting import HeldOut, History, Split
from ncf.serving.scorers import Popularity, Scorer, load_scorer
from ncf.study import mixing
from ncf.trials import trial
from ncf.trials.data import TrialData
from ncf.trials.messages import EpochReport, Outcome, Refit, Task

N_USERS, N_ITEMS = 3, 21
SGD = Hyperparameters(
    optimizer="sgd", initialization="xavier", embedding_dim=8, learning_rate=0.05, n_negatives=2
)


def task_of(folder: Path, epochs: int = 10, **changes: Any) -> Task:
    task = Task(
        number=5,
        setting=SGD,
        seed=spawn(3, Purpose.TRIAL, 5),
        epochs=epochs,
        patience=epochs,
        objective=Objective(),
        device="cpu",
        stop_below=(-math.inf,) * epochs,
        weights=folder / "trial.safetensors",
    )
    return replace(task, **changes)


def run(task: Task, data: TrialData) -> tuple[list[EpochReport], Outcome]:
    *reports, outcome = trial.run(task, data)
    assert isinstance(outcome, Outcome)
    assert all(isinstance(report, EpochReport) for report in reports)
    return [report for report in reports if isinstance(report, EpochReport)], outcome


def written(task: Task) -> bytes:
    assert task.weights is not None
    return task.weights.read_bytes()


def kept(weights: Path | None) -> Scorer:
    assert weights is not None
    return load_scorer(load_file(weights))


# A training with a known curve


@pytest.fixture
def data() -> TrialData:
    users = np.arange(N_USERS, dtype=np.int32)
    return TrialData(
        History(np.zeros(N_USERS + 1, np.int64), np.empty(0, np.int32), N_ITEMS),
        HeldOut(users, np.zeros(N_USERS, np.int32)),
        np.tile(np.arange(N_ITEMS, dtype=np.int32), (N_USERS, 1)),
    )


class Curve:
    """Stands for `fit`: epoch e's model has rank `ranks[e - 1]`; one model, changed in place."""

    def __init__(self, ranks: Sequence[int], losses: Sequence[float] = ()) -> None:
        self._ranks = ranks
        self._losses = losses or [0.5] * len(ranks)
        self.n_trained = 0

    def __call__(self, *_: object, epochs: int, **__: object) -> Iterator[Epoch]:
        """Yields the curve's epochs."""
        scores = np.zeros(N_ITEMS)
        for epoch in range(1, epochs + 1):
            self.n_trained = epoch
            scores[:] = -1
            scores[0] = 0
            scores[1 : self._ranks[epoch - 1]] = 1
            yield Epoch(epoch, self._losses[epoch - 1], 0.01, 100, Popularity(scores))


def ndcg_of(rank: int) -> float:
    return 1 / math.log2(rank + 1) if rank <= 10 else 0.0


def follow(
    monkeypatch: pytest.MonkeyPatch, data: TrialData, ranks: Sequence[int], task: Task
) -> tuple[list[EpochReport], Outcome]:
    """Runs the task on the curve and checks that no epoch was trained in vain."""
    curve = Curve(ranks)
    monkeypatch.setattr(trial, "fit", curve)
    reports, outcome = run(task, data)
    assert curve.n_trained == outcome.epochs == len(reports)
    assert [report.epoch for report in reports] == list(range(1, len(reports) + 1))
    for report, rank in zip(reports, ranks, strict=False):
        assert report.metrics["ndcg_10"] == pytest.approx(ndcg_of(rank))
    return reports, outcome


def test_the_best_epoch_is_kept_and_not_the_last(
    monkeypatch: pytest.MonkeyPatch, data: TrialData, tmp_path: Path
) -> None:
    task = task_of(tmp_path, epochs=5)
    _, outcome = follow(monkeypatch, data, [7, 3, 2, 5, 11], task)
    assert (outcome.number, outcome.epochs, outcome.best_epoch) == (5, 5, 3)
    assert not outcome.pruned
    assert outcome.metrics == pytest.approx(
        {"hit_ratio_10": 1.0, "ndcg_10": ndcg_of(2), "mrr_10": 1 / 2}
    )
    assert outcome.metrics_full == outcome.metrics  # here all items are candidates
    model = kept(task.weights)
    assert full_ranks(model, data.validation, data.train).tolist() == [2] * N_USERS


def test_the_first_of_equal_epochs_is_the_best(
    monkeypatch: pytest.MonkeyPatch, data: TrialData, tmp_path: Path
) -> None:
    _, outcome = follow(monkeypatch, data, [4, 2, 2, 2], task_of(tmp_path, epochs=4))
    assert outcome.best_epoch == 2


def test_a_trial_without_any_hit_has_an_outcome_too(
    monkeypatch: pytest.MonkeyPatch, data: TrialData, tmp_path: Path
) -> None:
    _, outcome = follow(monkeypatch, data, [21, 20, 19], task_of(tmp_path, epochs=3))
    assert outcome.best_epoch == 1
    assert outcome.metrics == {"hit_ratio_10": 0.0, "ndcg_10": 0.0, "mrr_10": 0.0}


@pytest.mark.parametrize(
    ("patience", "epochs"),
    [(1, 3), (2, 6), (3, 9), (4, 9)],
)
def test_patience_counts_epochs_without_a_better_one(
    monkeypatch: pytest.MonkeyPatch, data: TrialData, tmp_path: Path, patience: int, epochs: int
) -> None:
    ranks = [9, 8, 8, 7, 7, 7, 6, 6, 6]  # waits of 1, 2 and 2 epochs
    task = task_of(tmp_path, epochs=9, patience=patience)
    _, outcome = follow(monkeypatch, data, ranks, task)
    assert outcome.epochs == epochs
    assert not outcome.pruned


def test_a_trial_is_stopped_after_the_epoch_whose_threshold_its_best_is_below(
    monkeypatch: pytest.MonkeyPatch, data: TrialData, tmp_path: Path
) -> None:
    ranks = [9, 5, 8, 8, 4, 1]
    never, just_under, just_over = -math.inf, ndcg_of(5) - 1e-9, ndcg_of(5) + 1e-9
    thresholds = (never, ndcg_of(5), just_under, just_over, 0.0, 0.0)
    task = task_of(tmp_path, epochs=6, stop_below=thresholds)
    _, outcome = follow(monkeypatch, data, ranks, task)
    # Epoch 2 equals its threshold and epoch 3 is far below it, but the best so far is not.
    assert (outcome.pruned, outcome.epochs, outcome.best_epoch) == (True, 4, 2)
    assert outcome.metrics["ndcg_10"] == pytest.approx(ndcg_of(5))
    model = kept(task.weights)  # a pruned trial's model is kept as well
    assert full_ranks(model, data.validation, data.train).tolist() == [5] * N_USERS


def test_a_trial_that_ends_by_patience_is_not_pruned(
    monkeypatch: pytest.MonkeyPatch, data: TrialData, tmp_path: Path
) -> None:
    task = task_of(tmp_path, epochs=4, patience=2, stop_below=(-math.inf, 0.0, 0.0, 1.0))
    _, outcome = follow(monkeypatch, data, [3, 4, 4, 4], task)
    assert (outcome.pruned, outcome.epochs) == (False, 3)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_divergence_is_an_error_and_leaves_no_weights(
    monkeypatch: pytest.MonkeyPatch, data: TrialData, tmp_path: Path, loss: float
) -> None:
    task = task_of(tmp_path, epochs=3)
    monkeypatch.setattr(trial, "fit", Curve([3, 2, 1], [0.5, loss, 0.5]))
    events = trial.run(task, data)
    assert isinstance(next(events), EpochReport)
    with pytest.raises(FloatingPointError, match=f"loss of epoch 2 is {loss}.*learning rate"):
        next(events)
    assert list(tmp_path.iterdir()) == []


def test_weights_are_whole_or_absent(
    monkeypatch: pytest.MonkeyPatch, data: TrialData, tmp_path: Path
) -> None:
    task = task_of(tmp_path, epochs=2)
    monkeypatch.setattr(trial, "fit", Curve([2, 1]))
    for event in trial.run(task, data):
        assert task.weights is not None
        assert task.weights.exists() == isinstance(event, Outcome)
    assert list(tmp_path.iterdir()) == [task.weights]


def test_weights_of_an_earlier_attempt_are_replaced(
    monkeypatch: pytest.MonkeyPatch, data: TrialData, tmp_path: Path
) -> None:
    task = task_of(tmp_path, epochs=2)
    assert task.weights is not None
    task.weights.write_bytes(b"of an interrupted attempt")
    follow(monkeypatch, data, [2, 1], task)
    assert kept(task.weights).arrays()["popularity"][0] == 0


# Real training


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_saved_weights_have_the_reported_metrics(
    optimizer: Literal["adam", "sgd"], trial_data: TrialData, tmp_path: Path
) -> None:
    setting = replace(SGD, optimizer=optimizer, learning_rate=0.05 if optimizer == "sgd" else 0.1)
    task = task_of(tmp_path, epochs=8, setting=setting)
    reports, outcome = run(task, trial_data)
    values = [report.metrics["ndcg_10"] for report in reports]
    assert outcome.best_epoch == 1 + values.index(max(values))
    assert outcome.metrics == reports[outcome.best_epoch - 1].metrics
    model = kept(task.weights)
    held_out = trial_data.validation
    sampled = sampled_ranks(model, held_out.users, trial_data.candidates)
    assert summarize(sampled, 10) == outcome.metrics
    full = full_ranks(model, held_out, trial_data.train)
    assert summarize(full, 10) == outcome.metrics_full


def test_an_objective_over_the_full_catalogue_chooses_the_epoch(
    trial_data: TrialData, tmp_path: Path
) -> None:
    task = task_of(tmp_path, epochs=6, objective=Objective("full_mrr", 5))
    reports, outcome = run(task, trial_data)
    values = [report.metrics["full_mrr_5"] for report in reports]
    assert outcome.best_epoch == 1 + values.index(max(values))
    found = {name: value for name, value in outcome.metrics.items() if name.startswith("full_")}
    assert found == {f"full_{name}": value for name, value in outcome.metrics_full.items()}
    ranks = full_ranks(kept(task.weights), trial_data.validation, trial_data.train)
    assert summarize(ranks, 5) == outcome.metrics_full


@pytest.mark.parametrize("metric", ["ndcg", "full_ndcg"])
def test_a_sample_of_users_stands_for_all_in_the_full_catalogue(
    metric: str, trial_data: TrialData, tmp_path: Path
) -> None:
    task = task_of(tmp_path, epochs=3, objective=Objective(metric))
    every, some = (
        run(replace(task, sample=sample), trial_data)[1] for sample in (None, Sample(12, seed=5))
    )
    some_of = some_users(trial_data.validation, 12, seed=5)
    assert len(np.unique(some_of.users)) == 12
    ranks = full_ranks(kept(task.weights), some_of, trial_data.train)
    assert summarize(ranks, 10, some_of.users) == some.metrics_full != every.metrics_full
    if metric == "ndcg":  # of which no part depends on the sample
        assert some.metrics == every.metrics
    else:
        assert some.metrics["full_ndcg_10"] == some.metrics_full["ndcg_10"]


def test_the_seed_fixes_the_result(trial_data: TrialData, tmp_path: Path) -> None:
    def result(**changes: Any) -> tuple[list[float], bytes]:
        task = task_of(tmp_path, epochs=2, **changes)
        reports, _ = run(task, trial_data)
        return [report.loss for report in reports], written(task)

    first = result()
    assert result() == first
    assert (
        result(objective=Objective(k=5))[0] == first[0]
    )  # what is measured does not change what is trained
    assert result(number=6) == first
    seed = spawn(3, Purpose.TRIAL, 5)
    assert result(seed=seed) == first
    assert result(seed=spawn(3, Purpose.TRIAL, 6)) != first
    assert result(seed=spawn(4, Purpose.TRIAL, 5)) != first
    assert [r.loss for r in fit(trial_data.train, SGD, epochs=2, seed=seed)] == first[0]


def test_another_test_split_is_the_same_trial(
    split: Split, trial_data: TrialData, tmp_path: Path
) -> None:
    poison = (split.test.items + 1) % split.train.n_items
    poisoned = replace(split, test=HeldOut(split.test.users, poison.astype(np.int32)))
    data = replace(trial_data, train=poisoned.train, validation=poisoned.validation)
    task = task_of(tmp_path, epochs=2)
    results = []
    for one in (trial_data, data):
        reports, outcome = run(task, one)
        losses = [report.loss for report in reports]
        results.append((losses, outcome.metrics, outcome.metrics_full, written(task)))
    assert results[0] == results[1]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_refit_is_trained_on_train_and_validation_for_all_epochs(
    split: Split, trial_data: TrialData, tmp_path: Path, optimizer: Literal["sgd", "adam"]
) -> None:
    setting, seed = replace(SGD, optimizer=optimizer), spawn(3, Purpose.REFIT, 5)
    refit = Refit(5, setting, seed, 4, "cpu", tmp_path / "refit.safetensors")
    outcome = trial.refit(refit, trial_data)
    assert (outcome.number, outcome.epochs, outcome.metrics) == (5, 4, {})
    *_, last = fit(split.train_and_validation, setting, epochs=4, seed=seed)
    expected, found = last.scorer.arrays(), kept(refit.weights).arrays()
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], name)


def test_a_refit_that_diverges_is_an_error(trial_data: TrialData, tmp_path: Path) -> None:
    setting, seed = replace(SGD, learning_rate=1e20), spawn(3, Purpose.REFIT, 5)
    with pytest.raises(FloatingPointError, match="diverged"):
        trial.refit(Refit(5, setting, seed, 3, "cpu", tmp_path / "refit"), trial_data)
    assert not list(tmp_path.iterdir())


def test_reports_tell_samples_and_time(trial_data: TrialData, tmp_path: Path) -> None:
    reports, outcome = run(task_of(tmp_path, epochs=2), trial_data)
    for report in reports:
        assert report.number == 5
        assert report.n_samples == 3 * len(trial_data.train.items)
        assert report.seconds > 0
        assert set(report.metrics) == {"hit_ratio_10", "ndcg_10", "mrr_10"}
    assert reports[0].time <= reports[1].time
    assert reports[1].time <= outcome.time
    assert outcome.seconds >= sum(report.seconds for report in reports)


# a mixture needs the weights of another model, which only a search has
@pytest.mark.parametrize("name", [name for name in BASELINES if name != mixing.NAME])
def test_a_baseline_is_a_trial_of_one_epoch(name: str, trial_data: TrialData) -> None:
    task = replace(task_of(Path()), setting=MODELS[name].defaults, weights=None)
    reports, outcome = run(replace(task, stop_below=(1.0,) * task.epochs), trial_data)
    assert (len(reports), outcome.epochs, outcome.best_epoch) == (1, 1, 1)
    assert not outcome.pruned  # it has nothing left to be spared
    assert reports[0].metrics == outcome.metrics
    assert outcome.metrics_full["ndcg_10"] > 0


def test_a_baseline_is_refitted_like_any_model(
    split: Split, trial_data: TrialData, tmp_path: Path
) -> None:
    seed, setting = spawn(3, Purpose.REFIT, 0), MODELS["popularity"].defaults
    outcome = trial.refit(Refit(0, setting, seed, 30, "cpu", tmp_path / "refit"), trial_data)
    assert outcome.epochs == 1
    popularity = kept(tmp_path / "refit").arrays()["popularity"]
    assert popularity.tolist() == split.train_and_validation.popularity.tolist()
