"""The counts of following items against loops over every user, place and lag."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray

from ncf.models import markov
from ncf.models.markov import LAGS, LAST, MarkovHyperparameters
from ncf.models.table import fit
from ncf.protocol.splitting import History, history_of
from ncf.serving.item_item import DenseItemItem, ItemItem
from ncf.serving.scorers import Scorer


def ordered_history(n_users: int, n_items: int, length: int, seed: int) -> History:
    """Returns a history with lengths about `length` in random order; user 0 has nothing."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(n_items)[: rng.integers(1, length + 1)] for _ in range(1, n_users)]
    users = np.repeat(np.arange(1, n_users), [len(row) for row in rows])
    items = np.concatenate(rows)
    return history_of(users.astype(np.int32), items.astype(np.int32), n_users, n_items)


def by_hand(history: History, h: MarkovHyperparameters) -> NDArray[np.float64]:
    """Returns the scores (U, I) of the module's formula."""
    assert history.by_time is not None
    rows = [row.tolist() for row in np.split(history.by_time, history.indptr[1:-1])]
    counts = np.zeros((history.n_items, history.n_items))
    for row in rows:
        for p, before in enumerate(row):
            for lag, after in enumerate(row[p + 1 : p + 1 + LAGS], start=1):
                counts[before, after] += lag**-h.lag_decay
    sums = counts.sum(axis=1, keepdims=True), counts.sum(axis=0, keepdims=True)
    of_rows, of_columns = (np.where(one > 0, one, 1) for one in sums)
    counts /= of_rows**h.row_power * of_columns**h.column_power
    scores = np.zeros((history.n_users, history.n_items))
    for user, row in enumerate(rows):
        for place, item in enumerate(reversed(row[-LAST:]), start=1):
            scores[user] += place**-h.decay * counts[item]
    return scores


def fitted(history: History, setting: MarkovHyperparameters) -> Scorer:
    (epoch,) = fit(history, setting, epochs=1, seed=np.random.SeedSequence(1))
    return epoch.scorer


@pytest.mark.parametrize(
    "h",
    [
        MarkovHyperparameters(),
        MarkovHyperparameters(lag_decay=0.0, row_power=0.0, column_power=0.0, decay=0.0),
        MarkovHyperparameters(lag_decay=1.5, row_power=1.0, column_power=0.2, decay=0.4),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("n_users", "n_items", "length", "kind"),
    [(30, 90, 80, DenseItemItem), (12, 200, 15, ItemItem)],
    ids=["dense", "sparse"],
)
def test_scores_are_those_of_the_formula(
    n_users: int, n_items: int, length: int, kind: type, h: MarkovHyperparameters
) -> None:
    history = ordered_history(n_users, n_items, length, seed=3)
    scorer, users = fitted(history, h), np.arange(n_users)
    assert isinstance(scorer, kind)
    expected = by_hand(history, h)
    np.testing.assert_allclose(scorer.score_all(users), expected, rtol=1e-4, atol=1e-6)
    items = np.random.default_rng(4).integers(0, n_items, (n_users, 7))
    few = np.take_along_axis(expected, items, axis=1)
    np.testing.assert_allclose(scorer.score(users, items), few, rtol=1e-4, atol=1e-6)
    assert not expected[0].any()  # who has no history


def test_blocks_of_items_of_any_size_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    history = ordered_history(40, 900, 15, seed=5)
    counted = [fitted(history, MarkovHyperparameters()).arrays()]
    for n_places in (1, 60):  # each item by itself, and some of them together
        monkeypatch.setattr(markov, "BLOCK_PLACES", n_places)
        counted.append(fitted(history, MarkovHyperparameters()).arrays())
    for name, array in counted[0].items():
        assert all(other[name].tobytes() == array.tobytes() for other in counted[1:])


def test_what_always_follows_comes_first() -> None:
    rows = [[0, 1, 2], [0, 1, 3], [0, 1, 2], [4, 0]]
    users = np.repeat(np.arange(4), [len(row) for row in rows]).astype(np.int32)
    history = history_of(users, np.concatenate(rows).astype(np.int32), 4, 5)
    (scores,) = fitted(history, MarkovHyperparameters(2.0, 1.0, 0.0, 1.0)).score_all(np.array([3]))
    assert scores[1] > scores[2] > scores[3] > 0


def test_it_needs_the_order_of_time() -> None:
    history = History(np.array([0, 2]), np.array([0, 1], np.int32), 2)
    with pytest.raises(ValueError, match="need a history with `by_time`"):
        fitted(history, MarkovHyperparameters())


def test_counts_that_are_too_large_are_refused_before_they_are_made() -> None:
    n_users, length = 4000, 1500
    items = np.zeros(1, np.int32)  # the check reads the lengths alone
    history = History(np.arange(n_users + 1) * length, items, 60_000, items)
    with pytest.raises(ValueError, match=r"60,000 items take up to 2\.1 GB.* without markov"):
        fitted(history, MarkovHyperparameters())


@pytest.mark.parametrize("name", ["lag_decay", "row_power", "column_power", "decay"])
def test_a_setting_that_cannot_be(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name} >= 0` must hold, but got -1"):
        MarkovHyperparameters(**{name: -1.0})


def test_the_search_space_reaches_every_hyperparameter() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    settings = [markov.space(study.ask()) for _ in range(40)]
    for name in ("lag_decay", "row_power", "column_power", "decay"):
        assert len({getattr(h, name) for h in settings}) == 40
