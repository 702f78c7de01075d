"""EASE against what it is by definition: least squares without an item's own weight."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from ncf.models import ease
from ncf.models.ease import EASEHyperparameters
from ncf.models.table import fit
from ncf.protocol.splitting import History
from ncf.serving.scorers import Scorer
from tests.models.test_baselines import dense, random_history

N_USERS, N_ITEMS = 60, 21


def fitted(history: History, setting: EASEHyperparameters) -> Scorer:
    (epoch,) = fit(history, setting, epochs=1, seed=np.random.SeedSequence(1))
    return epoch.scorer


@pytest.mark.parametrize("recency", [0.0, 0.9])
@pytest.mark.parametrize("regularization", [0.5, 20.0])
def test_each_column_is_a_ridge_regression_on_the_other_items(
    regularization: float, recency: float
) -> None:
    history = random_history(N_USERS, N_ITEMS, seed=1)
    scores = fitted(history, EASEHyperparameters(regularization, recency)).score_all(
        np.arange(N_USERS)
    )
    matrix, weighted = dense(history), dense(history, recency)
    for item in range(N_ITEMS):
        others = np.delete(np.arange(N_ITEMS), item)
        x = matrix[:, others]
        ridge = x.T @ x + regularization * np.eye(len(others))
        column = np.linalg.solve(ridge, x.T @ matrix[:, item])
        np.testing.assert_allclose(scores[:, item], weighted[:, others] @ column, atol=2e-5)


def test_who_has_no_history_is_scored_zero() -> None:
    scorer = fitted(random_history(N_USERS, N_ITEMS, seed=2), EASEHyperparameters(5.0, 1.0))
    scores = scorer.score_all(np.arange(N_USERS))
    assert not scores[N_USERS // 2].any()  # a user without history: all items tie
    assert not scores[:, N_ITEMS // 2].any()  # an item without history


def test_more_items_than_a_matrix_can_have_are_refused_before_anything_costly() -> None:
    history = History(np.array([0, 1]), np.zeros(1, np.int32), 50_000, np.zeros(1, np.int32))
    rule = "50,000 items with each, which takes 30.0 GB, .* above 20,000 items: name the other --b"
    with pytest.raises(ValueError, match=rule):
        fitted(history, EASEHyperparameters())


@pytest.mark.parametrize(
    ("values", "rule"),
    [((0.0, 1.0), "regularization > 0"), ((1.0, -0.1), "recency >= 0")],
)
def test_a_setting_that_cannot_be(values: tuple[float, float], rule: str) -> None:
    with pytest.raises(ValueError, match=f"`{rule}` must hold"):
        EASEHyperparameters(*values)


def test_the_search_space_reaches_every_hyperparameter() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    settings = [ease.space(study.ask()) for _ in range(40)]
    assert len({h.regularization for h in settings}) == len({h.recency for h in settings}) == 40
    assert all(10 <= h.regularization <= 10_000 for h in settings)
