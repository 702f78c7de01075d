"""SLIST against what it is by definition: least squares over histories and over next items."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from ncf.models import slist
from ncf.models.ease import EASEHyperparameters
from ncf.models.slist import WINDOW, SLISTHyperparameters
from ncf.models.table import Setting, fit
from ncf.protocol.splitting import History
from ncf.serving.scorers import Scorer
from tests.models.test_baselines import dense, random_history

N_USERS, N_ITEMS = 40, 90


def fitted(history: History, setting: Setting) -> Scorer:
    (epoch,) = fit(history, setting, epochs=1, seed=np.random.SeedSequence(1))
    return epoch.scorer


def next_items(history: History, lag_decay: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns Z and Y, a row for each item that a user took after another."""
    before, after = [], []
    assert history.by_time is not None
    for user in range(history.n_users):
        items = history.by_time[history.indptr[user] : history.indptr[user + 1]]
        for place in range(1, len(items)):
            row = np.zeros(history.n_items)
            for lag, item in enumerate(items[:place][::-1][:WINDOW], start=1):
                row[item] = lag**-lag_decay
            before.append(row)
            after.append(np.eye(history.n_items)[items[place]])
    return np.array(before), np.array(after)


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("lag_decay", [0.0, 1.2])
def test_each_column_is_a_ridge_regression_on_the_other_items(
    share: float, lag_decay: float
) -> None:
    history = random_history(N_USERS, N_ITEMS, seed=1)
    assert np.diff(history.indptr).max() > WINDOW
    setting = SLISTHyperparameters(share, 2.0, lag_decay, 0.7)
    scores = fitted(history, setting).score_all(np.arange(N_USERS))
    matrix, weighted = dense(history), dense(history, 0.7)
    before, after = next_items(history, lag_decay)
    for item in range(N_ITEMS):
        others = np.delete(np.arange(N_ITEMS), item)
        x, z = matrix[:, others], before[:, others]
        ridge = share * x.T @ x + (1 - share) * z.T @ z + 2.0 * np.eye(len(others))
        right = share * x.T @ matrix[:, item] + (1 - share) * z.T @ after[:, item]
        column = np.linalg.solve(ridge, right)
        np.testing.assert_allclose(scores[:, item], weighted[:, others] @ column, atol=2e-5)


def test_a_share_of_one_is_ease() -> None:
    history = random_history(N_USERS, N_ITEMS, seed=2)
    users = np.arange(N_USERS)
    scores = fitted(history, SLISTHyperparameters(1.0, 5.0, 1.0, 0.9)).score_all(users)
    ease = fitted(history, EASEHyperparameters(5.0, 0.9)).score_all(users)
    np.testing.assert_allclose(scores, ease, atol=1e-5)


def test_what_cannot_be_fitted_is_told_before_anything_costly() -> None:
    bounds, items = np.array([0, 1]), np.zeros(1, np.int32)
    rule = "50,000 items with each, which takes 50.0 GB, .* above 15,000 items: name the other --b"
    with pytest.raises(ValueError, match=rule):
        fitted(History(bounds, items, 50_000, items), SLISTHyperparameters())
    with pytest.raises(ValueError, match="needs a history with `by_time`"):
        fitted(History(bounds, items, 1), SLISTHyperparameters())


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ((1.1, 1.0), "0 <= share <= 1"),
        ((0.5, 0.0), "regularization > 0"),
        ((0.5, 1.0, -1.0), "lag_decay >= 0"),
        ((0.5, 1.0, 1.0, -0.1), "recency >= 0"),
    ],
)
def test_a_setting_that_cannot_be(values: tuple[float, ...], rule: str) -> None:
    with pytest.raises(ValueError, match=f"`{rule}` must hold"):
        SLISTHyperparameters(*values)


def test_the_search_space_reaches_every_hyperparameter() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    settings = [slist.space(study.ask()) for _ in range(40)]
    for name in ("share", "regularization", "lag_decay", "recency"):
        assert len({getattr(setting, name) for setting in settings}) == 40
