"""The spectral start against a dense singular value decomposition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from ncf.models.gmf import spectral
from ncf.models.gmf.spectral import DEGREE_EXPONENT, spectral_start
from ncf.protocol.splitting import History


def interactions(n_users: int, n_items: int) -> NDArray[np.bool_]:
    return np.random.default_rng(0).random((n_users, n_items)) < 0.3


def history_of(dense: NDArray[np.bool_]) -> History:
    indptr = np.concatenate([[0], np.cumsum(dense.sum(axis=1))])
    return History(indptr, np.nonzero(dense)[1].astype(np.int32), dense.shape[1])


def start_of(dense: NDArray[np.bool_], dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return spectral_start(history_of(dense), dim)


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
    dense = interactions(40, 25)
    users, items = start_of(dense, 8)
    for factors, n in ((users, 40), (items, 25)):
        assert factors.shape == (n, 8)
        assert factors.dtype == np.float32
        assert factors.flags.c_contiguous
        assert np.sqrt(np.mean(factors**2)) == pytest.approx(1, rel=1e-5)
    assert (users[:, 0] > 0).all()  # Perron: the first singular vectors have one sign
    vectors = items / dense.sum(axis=0)[:, None] ** DEGREE_EXPONENT
    assert (vectors[np.abs(vectors).argmax(axis=0), np.arange(8)] > 0).all()  # its largest is +


def test_it_is_computed_once_for_each_dimension_and_the_same_as_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, n_computed = history_of(interactions(40, 25)), 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal n_computed
        n_computed += 1
        return svds(*arguments, **options)

    monkeypatch.setattr(spectral, "svds", counted)
    for dim in (5, 7, 5, 7):
        for anew, kept in zip(
            spectral_start(history, dim), spectral_start(history, dim, tmp_path), strict=True
        ):
            np.testing.assert_array_equal(kept, anew)
    assert n_computed == 4 + 2


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (1, 5), (5, 1)])
def test_dimensions_beyond_the_rank_are_small_and_random(shape: tuple[int, int]) -> None:
    rank = min(shape) - 1
    for factors in start_of(np.ones(shape, bool), 8):
        assert np.isfinite(factors).all()
        rest = factors[:, rank:]
        assert len(np.unique(rest)) == rest.size
        assert 0 < np.abs(rest).max() < 0.1


def test_users_and_items_without_interactions_are_finite() -> None:
    dense = interactions(40, 25)
    dense[3], dense[:, 7] = False, False
    users, items = start_of(dense, 4)
    assert np.isfinite(users).all()
    assert np.isfinite(items).all()
    assert np.abs(users[3]).max() < 1e-6
