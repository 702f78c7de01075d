"""The spectral start against a dense singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ncf.spectral import DEGREE_EXPONENT, spectral_start


def interactions(n_users: int, n_items: int) -> NDArray[np.bool_]:
    return np.random.default_rng(0).random((n_users, n_items)) < 0.3


def start_of(
    dense: NDArray[np.bool_], dim: int, rms: float = 0.1, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    indptr = np.concatenate([[0], np.cumsum(dense.sum(axis=1))])
    items = np.nonzero(dense)[1].astype(np.int32)
    return spectral_start(indptr, items, dense.shape[1], dim, rms=rms, seed=seed)


@pytest.mark.parametrize("shape", [(40, 25), (25, 40)])
def test_equals_a_dense_decomposition(shape: tuple[int, int]) -> None:
    dense, dim = interactions(*shape), 6
    m = dense.sum(axis=1, keepdims=True) ** DEGREE_EXPONENT
    n = dense.sum(axis=0, keepdims=True) ** DEGREE_EXPONENT
    left, singular_values, right = np.linalg.svd(dense / (m * n), full_matrices=False)
    expected = m * (left[:, :dim] * singular_values[:dim]) @ right[:dim] * n

    users, items = start_of(dense, dim)
    product = users @ items.T
    np.testing.assert_allclose(
        product / np.linalg.norm(product), expected / np.linalg.norm(expected), atol=1e-5
    )
    # singular values fall from column to column, and are shared by both sides
    lengths = np.linalg.norm(users / m, axis=0)
    np.testing.assert_allclose(
        lengths / lengths[0], np.sqrt(singular_values[:dim] / singular_values[0]), rtol=1e-4
    )


def test_scale_type_and_sign() -> None:
    users, items = start_of(interactions(40, 25), 8, rms=0.25)
    for factors, n in ((users, 40), (items, 25)):
        assert factors.shape == (n, 8)
        assert factors.dtype == np.float32
        assert factors.flags.c_contiguous
        assert np.sqrt(np.mean(factors**2)) == pytest.approx(0.25, rel=1e-5)
    assert (users[:, 0] > 0).all()  # Perron: the first singular vectors have one sign


def test_equal_seeds_give_equal_factors_and_other_seeds_the_same_signs() -> None:
    dense = interactions(40, 25)
    first, again, other = (start_of(dense, 5, seed=seed) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (1, 5), (5, 1)])
def test_dimensions_beyond_the_rank_are_small_and_random(shape: tuple[int, int]) -> None:
    rank = min(shape) - 1
    for factors in start_of(np.ones(shape, bool), 8, rms=0.1):
        assert np.isfinite(factors).all()
        rest = factors[:, rank:]
        assert len(np.unique(rest)) == rest.size
        assert 0 < np.abs(rest).max() < 0.01


def test_users_and_items_without_interactions_are_finite() -> None:
    dense = interactions(40, 25)
    dense[3], dense[:, 7] = False, False
    users, items = start_of(dense, 4)
    assert np.isfinite(users).all()
    assert np.isfinite(items).all()
    assert np.abs(users[3]).max() < 1e-6
