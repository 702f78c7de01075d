"""Which positives an epoch visits, against the formula counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ncf.models.positives import draw_positives, recency_weights
from ncf.protocol.splitting import History, history_of

OLDEST_FIRST = [[4, 0, 7, 2, 5], [3], [6, 1, 8]]


def history() -> History:
    users = np.repeat(np.arange(3, dtype=np.int32), [len(row) for row in OLDEST_FIRST])
    return history_of(users, np.concatenate(OLDEST_FIRST).astype(np.int32), n_users=3, n_items=9)


def expected_visits(recency: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The expected visits (U, I) of each user's items in one epoch, from the formula."""
    expected = np.zeros((3, 9))
    for user, row in enumerate(OLDEST_FIRST):
        weights = [(len(row) - place) ** -recency for place in range(len(row))]
        for item, weight in zip(row, weights, strict=True):
            expected[user, item] = len(row) * weight / sum(weights)
    return expected


@pytest.mark.parametrize("recency", [0.3, 1.0, 2.5])
def test_visits_follow_the_formula(recency: float) -> None:
    h, n_epochs = history(), 4000
    expected, visits = expected_visits(recency), np.zeros((3, 9))
    for seed in range(n_epochs):
        epoch = np.zeros((3, 9))
        np.add.at(epoch, (h.user_of, draw_positives(h, recency, seed)), 1)
        assert (np.abs(epoch - expected) < 1 + 1e-9).all()  # rounded up or down, no further
        visits += epoch
    # a visit count is one of two neighbouring integers, so its variance is at most 1/4
    assert np.abs(visits / n_epochs - expected).max() < 5 * 0.5 / np.sqrt(n_epochs)


def test_no_recency_visits_each_item_once() -> None:
    h = history()
    assert (draw_positives(h, 0, 1) == h.items).all()
    nearly = draw_positives(h, 1e-12, 1)
    for start, stop in zip(h.indptr[:-1], h.indptr[1:], strict=True):
        assert sorted(nearly[start:stop]) == h.items[start:stop].tolist()


def test_seeds_repeat_and_differ() -> None:
    h = history()
    draws = [draw_positives(h, 1.0, seed).tolist() for seed in (3, 3, *range(20))]
    assert draws[0] == draws[1]
    assert len(set(map(tuple, draws))) > 3


def test_weights_are_the_expected_visits() -> None:
    h = history()
    weights = recency_weights(h, 1.5)
    assert weights.dtype == np.float32
    expected = expected_visits(1.5)[h.user_of, np.concatenate(OLDEST_FIRST)]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_users_without_items_are_passed_over() -> None:
    h = history_of(np.array([1, 1], np.int32), np.array([0, 2], np.int32), n_users=3, n_items=3)
    assert set(draw_positives(h, 1.0, 0).tolist()) <= {0, 2}
    np.testing.assert_allclose(recency_weights(h, 1.0), [2 / 3, 4 / 3])


def test_an_unknown_order_is_an_error() -> None:
    unordered = History(np.array([0, 2]), np.array([0, 1], np.int32), 3)
    with pytest.raises(ValueError, match="by_time"):
        draw_positives(unordered, 1.0, 0)
    assert draw_positives(unordered, 0, 0).tolist() == [0, 1]
