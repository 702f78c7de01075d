"""Baselines against what they are by definition, on matrices small enough for dense arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray

from ncf.models import ials, item_knn
from ncf.models.ials import IALSHyperparameters
from ncf.models.item_knn import ItemKNNHyperparameters
from ncf.models.popularity import PopularityHyperparameters
from ncf.models.table import Setting, fit
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import Scorer, full_ranks, sampled_ranks
from ncf.protocol.splitting import History, Split, history_of
from ncf.serving import blocks
from ncf.serving.factors import Factors
from ncf.serving.scorers import Popularity
from ncf.trials.data import TrialData

no_warning = pytest.mark.filterwarnings("error")  # `implicit` warns of BLAS threads

SMALL = IALSHyperparameters(factors=8, alpha=5.0, regularization_per_alpha=0.2, iterations=10)


def random_history(n_users: int, n_items: int, seed: int) -> History:
    """Returns a history with one user and one item that have nothing; low items came first."""
    is_in = np.random.default_rng(seed).random((n_users, n_items)) < 0.3
    is_in[n_users // 2] = is_in[:, n_items // 2] = False
    users, items = np.nonzero(is_in)
    return history_of(users.astype(np.int32), items.astype(np.int32), n_users, n_items)


def dense(history: History, recency: float = 0) -> NDArray[np.float64]:
    """Returns a^-recency (U, I) of each user's a-th latest item of a `random_history`."""
    matrix = np.zeros((history.n_users, history.n_items))
    matrix[history.user_of, history.items] = 1
    place = np.cumsum(matrix[:, ::-1], axis=1)[:, ::-1]  # 1 is the latest
    return np.asarray(matrix * np.maximum(place, 1) ** -recency)


def with_mean_1(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns weights (U, I) of which each user's have a mean of 1."""
    n = np.maximum(np.count_nonzero(matrix, axis=1, keepdims=True), 1)
    return np.asarray(matrix / np.maximum(matrix.sum(axis=1, keepdims=True) / n, 1e-12))


def knn_by_hand(matrix: NDArray[np.float64], h: ItemKNNHyperparameters) -> NDArray[np.float64]:
    """Returns the scores (U, I), one pair at a time; an item does not count for itself."""
    n_users, n_items = matrix.shape
    weights, matrix = matrix, (matrix > 0).astype(np.float64)
    columns = matrix.T.copy()
    idf = np.log(n_items) - np.log1p(matrix.sum(axis=1))
    if h.similarity == "bm25":
        lengths = columns.sum(axis=1, keepdims=True)
        norm = 1 - h.b + h.b * lengths / lengths.mean()
        columns = columns * (h.k1 + 1) / (h.k1 * norm + columns) * idf
    else:
        if h.similarity == "tfidf":
            columns = columns * idf
        columns /= np.maximum(np.linalg.norm(columns, axis=1, keepdims=True), 1e-12)
    similarity = columns @ columns.T
    np.fill_diagonal(similarity, -np.inf)
    scores = np.zeros((n_users, n_items))
    for user in range(n_users):
        for item in range(n_items):
            nearest = np.argsort(-similarity[item])[: h.n_neighbors]
            rest = np.delete(similarity[item], [*nearest, item])
            assert not rest.max(initial=-np.inf) == similarity[item, nearest[-1]] > 0, "a tie"
            terms = (weights[user, j] * similarity[item, j] for j in nearest if matrix[user, j])
            scores[user, item] = sum(terms)
    return scores


def ials_objective(scorer: Factors, history: History, h: IALSHyperparameters) -> float:
    """Returns the objective of the module's formula."""
    r = with_mean_1(dense(history, h.recency))
    targets, weights = (r > 0).astype(np.float64), np.where(r > 0, h.alpha * r, 1.0)
    users, items = scorer.user_factors.astype(np.float64), scorer.item_factors.astype(np.float64)
    penalty = h.alpha * h.regularization_per_alpha * ((users**2).sum() + (items**2).sum())
    return float((weights * (targets - users @ items.T) ** 2).sum() + penalty)


def all_scores(scorer: Scorer, n_users: int) -> NDArray[np.floating[Any]]:
    return scorer.score_all(np.arange(n_users))


def fitted(history: History, setting: Setting, seed: int = 1) -> Scorer:
    (epoch,) = fit(history, setting, epochs=1, seed=np.random.SeedSequence(seed))
    return epoch.scorer


def factors(history: History, setting: IALSHyperparameters, seed: int = 1) -> Factors:
    scorer = fitted(history, setting, seed)
    assert isinstance(scorer, Factors)
    return scorer


def test_popularity_counts_users() -> None:
    history = random_history(30, 12, seed=1)
    scorer = fitted(history, PopularityHyperparameters())
    expected = np.bincount(history.items, minlength=12)
    assert isinstance(scorer, Popularity)
    assert all_scores(scorer, 30).tolist() == [expected.tolist()] * 30


@no_warning
@pytest.mark.parametrize(
    "h",
    [
        ItemKNNHyperparameters(1, "cosine"),
        ItemKNNHyperparameters(3, "cosine"),
        ItemKNNHyperparameters(3, "tfidf"),
        ItemKNNHyperparameters(3, "bm25"),
        ItemKNNHyperparameters(3, "bm25", k1=20.0, b=0.3),
        ItemKNNHyperparameters(500, "tfidf"),  # more than there are items
        ItemKNNHyperparameters(3, "tfidf", recency=1.5),
    ],
    ids=str,
)
def test_item_knn_agrees_with_dense_arithmetic(h: ItemKNNHyperparameters) -> None:
    history = random_history(400, 15, seed=2)
    scores, matrix = all_scores(fitted(history, h), 400), dense(history, h.recency)
    assert isinstance(scores, np.ndarray)
    untouched = matrix == 0  # the others also count the item itself, and are never ranked
    expected = knn_by_hand(matrix, h)[untouched]
    np.testing.assert_allclose(scores[untouched], expected, rtol=1e-5, atol=1e-5)
    assert scores[untouched].any()


@no_warning
def test_more_iterations_of_ials_lower_its_objective() -> None:
    history = random_history(60, 40, seed=3)
    objectives = [
        ials_objective(factors(history, h, seed=4), history, h)
        for h in (
            IALSHyperparameters(8, 2.0, 5.0, iterations) for iterations in (1, 2, 4, 8, 16, 32)
        )
    ]
    assert objectives == sorted(objectives, reverse=True)
    assert objectives[0] > 1.05 * objectives[-1]


@no_warning
@pytest.mark.parametrize("recency", [0.0, 0.7])
def test_ials_ends_where_each_user_and_item_is_at_its_least(recency: float) -> None:
    h = IALSHyperparameters(4, 3.0, 6.0, iterations=300, recency=recency)
    history = random_history(30, 20, seed=5)
    scorer, r = factors(history, h, seed=6), with_mean_1(dense(history, recency))
    users, items = scorer.user_factors.astype(np.float64), scorer.item_factors.astype(np.float64)
    for this, that, matrix in ((users, items, r), (items, users, r.T)):
        for row, r_row in zip(this, matrix, strict=True):
            target, weights = r_row > 0, np.where(r_row > 0, h.alpha * r_row, 1.0)
            normal = (that * weights[:, None]).T @ that
            normal += h.alpha * h.regularization_per_alpha * np.eye(h.factors)
            best = np.linalg.solve(normal, that.T @ (weights * target))
            assert row == pytest.approx(best, abs=2e-3)


def test_a_block_of_users_at_a_time_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, rng = fitted(random_history(50, 20, seed=7), ItemKNNHyperparameters(5)), np.random
    items = rng.default_rng(8).integers(0, 20, (50, 6)).astype(np.int32)
    whole = scorer.score(np.arange(50), items)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 20 * 7)  # seven users at a time
    np.testing.assert_array_equal(scorer.score(np.arange(50), items), whole)


@no_warning
def test_the_seed_of_ials_matters() -> None:
    history = random_history(50, 20, seed=9)
    scores = [all_scores(factors(history, SMALL, seed), 50) for seed in (1, 2)]
    assert not np.array_equal(scores[0], scores[1])


@no_warning
@pytest.mark.parametrize("setting", [ItemKNNHyperparameters(5), SMALL], ids=["knn", "ials"])
def test_who_has_no_history_is_scored_zero(setting: Setting) -> None:
    scores = all_scores(fitted(random_history(50, 20, seed=10), setting), 50)
    assert np.isfinite(scores).all()
    assert not scores[25].any()  # a user without history: all items tie
    assert not scores[:, 10].any()  # an item without history


@no_warning
@pytest.mark.parametrize("setting", [ItemKNNHyperparameters(5), SMALL], ids=["knn", "ials"])
def test_planted_tastes_are_found(setting: Setting, split: Split, trial_data: TrialData) -> None:
    def quality(scorer: Scorer) -> tuple[float, float]:
        sampled = sampled_ranks(scorer, split.validation.users, trial_data.candidates)
        whole = full_ranks(scorer, split.validation, split.train)
        return summarize(sampled, 10)["ndcg_10"], summarize(whole, 10)["ndcg_10"]

    sampled, whole = quality(fitted(split.train, setting))
    popular_sampled, popular_whole = quality(fitted(split.train, PopularityHyperparameters()))
    assert sampled > 1.5 * popular_sampled
    assert whole > 1.5 * popular_whole


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"n_neighbors": 0}, "`n_neighbors >= 1` must hold, but got 0"),
        ({"similarity": "dice"}, "must hold, but got 'dice'"),
    ],
)
def test_item_knn_that_cannot_be(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        ItemKNNHyperparameters(**arguments)


@pytest.mark.parametrize("name", ["factors", "alpha", "regularization_per_alpha", "iterations"])
def test_ials_that_cannot_be(name: str) -> None:
    values: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=rf"`{name} >.* must hold, but got 0"):
        IALSHyperparameters(**values)


def test_search_spaces_reach_every_hyperparameter() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    neighbours = [item_knn.space(study.ask()) for _ in range(60)]
    assert {h.similarity for h in neighbours} == {"cosine", "tfidf", "bm25"}
    assert len({h.n_neighbors for h in neighbours}) > 20
    assert {(h.k1, h.b) for h in neighbours if h.similarity != "bm25"} == {(1.2, 0.75)}
    assert len({(h.k1, h.b) for h in neighbours if h.similarity == "bm25"}) > 10
    factors = [ials.space(study.ask()) for _ in range(60)]
    for name in ("alpha", "regularization_per_alpha", "iterations"):
        assert len({getattr(h, name) for h in factors}) > 15
    assert {h.factors for h in factors} == {32, 64, 128, 256}
    assert all(0.3 <= h.regularization_per_alpha <= 30 for h in factors)


@no_warning
def test_blas_has_one_thread_meanwhile_and_its_own_number_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads() -> set[int]:
        return {api["num_threads"] for api in threadpool_info() if api["user_api"] == "blas"}

    monkeypatch.setattr("implicit.utils._checked_blas_config", False)  # it warns once a process
    with threadpool_limits(2, "blas"):
        before = threads()
        fitted(random_history(20, 10, seed=12), SMALL)  # a warning is an error here
        assert threads() == before
