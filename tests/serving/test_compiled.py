"""The compiled scores against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from ncf.serving.compiled import candidate_scores


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


def test_a_diverged_factor_shows() -> None:
    users, items = np.full((1, 3), np.nan, np.float32), np.ones((2, 3), np.float32)
    assert np.isnan(
        candidate_scores(users, items, np.zeros(2, np.float32), np.array([[0, 1]]))
    ).all()
