"""The compiled scores against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import random_array

from ncf.serving.compiled import candidate_scores
from ncf.serving.item_item import ItemItem


@pytest.mark.parametrize("dim", [1, 7, 64])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_scores_are_dot_products_plus_bias(dim: int, dtype: type[np.integer]) -> None:
    rng = np.random.default_rng(dim)
    users, items = rng.normal(size=(5, dim)), rng.normal(size=(9, dim))
    bias, candidates = rng.normal(size=9), rng.integers(0, 9, (5, 4)).astype(dtype)
    expected = np.einsum("bd,bcd->bc", users, items[candidates]) + bias[candidates]
    p, q, c = (array.astype(np.float32) for array in (users, items, bias))
    scores = candidate_scores(p, q, c, candidates)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_places", [3, 20])
def test_sparse_weights_score_candidates_as_they_score_all_items(n_places: int) -> None:
    rng = np.random.default_rng(n_places)
    n_users, n_items = 30, 50
    weights = random_array((n_items, n_items), density=0.3, rng=rng, dtype=np.float32).tocsr()
    histories = [rng.choice(n_items, n, replace=False) for n in rng.integers(0, 20, n_users)]
    bounds = np.cumsum([0, *map(len, histories)])
    places = (np.arange(1, n_places + 1) ** -0.5).astype(np.float32)
    rows = (weights.indptr, weights.indices, weights.data)
    scorer = ItemItem(bounds, np.concatenate(histories).astype(np.int32), places, *rows)
    users = rng.integers(0, n_users, 40).astype(np.int32)
    items = rng.integers(0, n_items, (40, 8)).astype(np.int32)
    expected = np.take_along_axis(scorer.score_all(users), items.astype(np.int64), axis=1)
    assert expected.any()
    assert scorer.score(users, items).tobytes() == expected.tobytes()


def test_a_diverged_factor_shows() -> None:
    users, items = np.full((1, 3), np.nan, np.float32), np.ones((2, 3), np.float32)
    assert np.isnan(
        candidate_scores(users, items, np.zeros(2, np.float32), np.array([[0, 1]]))
    ).all()
