"""Scorers of item-item weights and of mixtures: users by their lists, and what is kept for use."""

from __future__ import annotations

import numpy as np
import pytest

from ncf.models.ease import EASEHyperparameters
from ncf.models.item_knn import ItemKNNHyperparameters
from ncf.models.markov import MarkovHyperparameters
from ncf.models.table import Setting, fit
from ncf.protocol.splitting import History, history_of
from ncf.serving.factors import Factors
from ncf.serving.item_item import DenseItemItem, ItemItem, truncated
from ncf.serving.mixture import Mixture
from ncf.serving.scorers import Popularity, Scorer, for_use, load_scorer, reads_items

N_USERS, N_ITEMS = 30, 40
USERS = np.arange(N_USERS)


@pytest.fixture(scope="module")
def history() -> History:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((N_USERS, N_ITEMS)) < 0.4)
    order = rng.permutation(len(users))
    return history_of(users[order].astype("i4"), items[order].astype("i4"), N_USERS, N_ITEMS)


def fitted(history: History, setting: Setting) -> Scorer:
    (epoch,) = fit(history, setting, epochs=1, seed=np.random.SeedSequence(1))
    return epoch.scorer


SETTINGS = (
    EASEHyperparameters(10.0, 0.8),
    EASEHyperparameters(10.0),
    MarkovHyperparameters(),
    ItemKNNHyperparameters(5, recency=1.0),
)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_who_is_given_as_a_list_is_scored_as_one_who_is_known(
    history: History, setting: Setting
) -> None:
    scorer = fitted(history, setting)
    assert reads_items(scorer)
    assert isinstance(scorer, ItemItem | DenseItemItem)
    assert history.by_time is not None
    expected = scorer.score_all(USERS)
    own = history.by_time[history.indptr[4] : history.indptr[5]]
    for user, given in ((None, own), (4, own[:0]), (4, own[-3:])):
        scores = scorer.score_given(user, given)
        np.testing.assert_allclose(scores, expected[4], rtol=1e-5, atol=1e-6)
    newer = scorer.score_given(4, np.setdiff1d(np.arange(N_ITEMS), own)[:1])
    assert not np.allclose(newer, expected[4])


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_the_largest_weights_of_each_item_are_kept(history: History, setting: Setting) -> None:
    scorer = fitted(history, setting)
    assert isinstance(scorer, ItemItem | DenseItemItem)
    assert truncated(scorer, 0, N_ITEMS) is scorer
    assert truncated(scorer, N_ITEMS**2 * 4, 3) is scorer
    few = truncated(scorer, 0, 3)
    assert isinstance(few, ItemItem)
    assert np.diff(few.weight_indptr).max() == 3
    for item in range(N_ITEMS):
        whole, kept = (one.score_given(None, np.array([item])) for one in (scorer, few))
        assert np.count_nonzero(kept) == min(3, np.count_nonzero(whole))
        np.testing.assert_array_equal(kept[kept != 0], whole[kept != 0])
        assert np.abs(whole[kept == 0]).max() <= np.abs(kept[kept != 0]).min(initial=np.inf)
    nearly = truncated(scorer, 0, 19).score_all(USERS)  # of 40 weights, many of them small
    assert np.corrcoef(nearly.ravel(), scorer.score_all(USERS).ravel())[0, 1] > 0.9


def factors(n_recent: int) -> Factors:
    rng = np.random.default_rng(2)
    arrays = {
        "user_factors": rng.normal(size=(N_USERS, 3)).astype("f4"),
        "item_factors": rng.normal(size=(N_ITEMS, 3 + 2 * (n_recent > 0))).astype("f4"),
        "item_bias": rng.normal(size=N_ITEMS).astype("f4"),
    }
    if n_recent:
        arrays["recent_factors"] = rng.normal(size=(N_ITEMS, 2)).astype("f4")
        arrays["recent_weights"] = np.ones(n_recent, "f4")
        arrays["recent_items"] = rng.integers(0, N_ITEMS, (N_USERS, n_recent)).astype("i4")
    return Factors.load(arrays)


def test_a_mixture_is_of_scores_that_each_user_has_on_one_scale(history: History) -> None:
    first, second = factors(2), fitted(history, MarkovHyperparameters())
    mixture = Mixture(first, second, 0.3)
    scores = [np.array(one.score_all(USERS), np.float64) for one in (first, second)]
    z = [(one - one.mean(1)[:, None]) / one.std(1)[:, None] for one in scores]
    expected = 0.7 * z[0] + 0.3 * z[1]
    np.testing.assert_allclose(mixture.score_all(USERS), expected, atol=1e-5)
    items = np.random.default_rng(3).integers(0, N_ITEMS, (N_USERS, 4))
    few = np.take_along_axis(mixture.score_all(USERS), items, axis=1)
    np.testing.assert_allclose(mixture.score(USERS, items), few, atol=1e-6)
    loaded = load_scorer(mixture.arrays())
    np.testing.assert_array_equal(loaded.score_all(USERS), mixture.score_all(USERS))
    kept = for_use(mixture)
    assert isinstance(kept, Mixture)


def test_a_mixture_of_weight_0_ranks_as_its_first_model(history: History) -> None:
    first, second = factors(0), fitted(history, EASEHyperparameters(10.0))
    alone = np.argsort(-first.score_all(USERS), axis=1)
    np.testing.assert_array_equal(np.argsort(-Mixture(first, second, 0).score_all(USERS)), alone)


def test_a_list_is_answered_where_both_models_read_it(history: History) -> None:
    markov = fitted(history, MarkovHyperparameters())
    for first, reads in (
        (factors(2), True),
        (factors(0), False),
        (Popularity(np.arange(40.0)), False),
    ):
        assert reads_items(Mixture(first, markov, 0.2)) == reads
    mixture = Mixture(factors(2), markov, 0.2)
    given = mixture.score_given(None, np.array([3, 7]))
    assert given.shape == (N_ITEMS,)
    assert not np.allclose(given, mixture.score_given(None, np.array([3, 8])))
