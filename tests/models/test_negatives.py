"""Negatives against sets, and their uniformity against the chi-square distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from ncf.models import negatives as negatives_module
from ncf.models.negatives import check_sampleable, draw_negatives, touched_filter
from ncf.protocol.splitting import History


def history(rows: list[set[int]], n_items: int) -> History:
    indptr = np.cumsum([0] + [len(row) for row in rows])
    return History(indptr, np.array([i for row in rows for i in sorted(row)], np.int32), n_items)


def random_rows(n_items: int, lengths: list[int]) -> list[set[int]]:
    rng = np.random.default_rng(0)
    return [set(rng.choice(n_items, n, replace=False).tolist()) for n in lengths]


# lengths that take every way: no row, Bloom filter, exact bitmap, ranks, all but one item
LENGTHS = [0, 1, 3, 12, 13, 40, 199, 201, 399]
N_ITEMS = 400


def test_negatives_are_never_in_the_row() -> None:
    rows = random_rows(N_ITEMS, LENGTHS)
    users = np.repeat(np.arange(len(rows), dtype=np.int32), 300)
    negatives = draw_negatives(history(rows, N_ITEMS), users, 4, seed=1)
    assert negatives.shape == (len(users), 4)
    assert negatives.dtype == np.int32
    for user, drawn in zip(users, negatives, strict=True):
        assert not rows[user] & set(drawn.tolist())
        assert drawn.min() >= 0
        assert drawn.max() < N_ITEMS


def test_negatives_reach_every_other_item() -> None:
    rows = random_rows(N_ITEMS, LENGTHS)
    users = np.repeat(np.arange(len(rows), dtype=np.int32), 5000)
    negatives = draw_negatives(history(rows, N_ITEMS), users, 2, seed=2).reshape(len(rows), -1)
    for row, drawn in zip(rows, negatives, strict=True):
        assert set(drawn.tolist()) == set(range(N_ITEMS)) - row


@pytest.mark.parametrize("row", [set(), {0}, {2, 5}, {1, 2, 3, 4, 5, 6}], ids=len)
def test_negatives_are_uniform(row: set[int]) -> None:
    users = np.zeros(20_000, np.int32)
    counts = np.bincount(draw_negatives(history([row], 10), users, 3, seed=3).ravel(), minlength=10)
    assert chisquare(np.delete(counts, sorted(row))).pvalue > 0.001


@pytest.mark.parametrize("n_touched", [2, 20], ids=["Bloom filter", "exact bitmap"])
def test_negatives_are_uniform_behind_the_filter(n_touched: int) -> None:
    (row,) = random_rows(200, [n_touched])
    users = np.zeros(50_000, np.int32)
    counts = np.bincount(
        draw_negatives(history([row], 200), users, 4, seed=4).ravel(), minlength=200
    )
    assert chisquare(np.delete(counts, sorted(row))).pvalue > 0.001


@pytest.mark.parametrize("popular", [0.3, 1.0])
def test_a_share_of_negatives_is_drawn_by_popularity(popular: float) -> None:
    n_items, rows = 12, [{0, 1}, {1, 2, 3}, {3}, {3, 4, 5, 6}, {3, 5}]  # 7 to 11 are nobody's
    h = history(rows, n_items)
    by_popularity = h.popularity / len(h.items)
    first = popular * by_popularity + (1 - popular) / n_items
    touched = sorted(rows[1])
    expected = np.delete(first + first[touched].sum() / (n_items - len(touched)), touched)
    users = np.ones(50_000, np.int32)
    drawn = draw_negatives(h, users, 2, seed=12, popular_negatives=popular)
    counts = np.delete(np.bincount(drawn.ravel(), minlength=n_items), touched)
    assert chisquare(counts, expected * counts.sum()).pvalue > 0.001


def test_popular_negatives_end_where_only_unpopular_items_are_left() -> None:
    users = np.zeros(1000, np.int32)  # user 0 has every item that anybody has
    drawn = draw_negatives(history([{0, 1}, {1}], 6), users, 2, seed=13, popular_negatives=1.0)
    assert set(drawn.ravel().tolist()) == {2, 3, 4, 5}


def test_columns_of_negatives_are_independent() -> None:
    drawn = draw_negatives(history([{0}], 6), np.zeros(50_000, np.int32), 2, seed=5) - 1
    assert chisquare(np.bincount(drawn[:, 0] * 5 + drawn[:, 1], minlength=25)).pvalue > 0.001


def test_equal_seeds_give_equal_negatives() -> None:
    h = history(random_rows(N_ITEMS, LENGTHS), N_ITEMS)
    users = np.arange(len(LENGTHS), dtype=np.int32)
    first = draw_negatives(h, users, 9, seed=6)
    np.testing.assert_array_equal(first, draw_negatives(h, users, 9, seed=6))
    filtered = touched_filter(h)
    np.testing.assert_array_equal(first, draw_negatives(h, users, 9, 6, filtered))
    assert (first != draw_negatives(h, users, 9, seed=7)).any()
    assert (first != draw_negatives(h, users, 9, seed=2**64 - 1)).any()


def test_read_only_input_compiles_nothing_new() -> None:
    h = history(random_rows(N_ITEMS, LENGTHS), N_ITEMS)
    users = np.arange(len(LENGTHS), dtype=np.int32)
    drawn = draw_negatives(h, users, 3, seed=8)
    for array in (h.indptr, h.items, users):
        array.flags.writeable = False
    again = draw_negatives(h, users, 3, seed=8)
    np.testing.assert_array_equal(drawn, again)
    assert len(negatives_module._fill_negatives.signatures) == 1


def test_user_with_every_item_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 of 3 users \(first: user 1\) have all 3 items"):
        check_sampleable(history([{0}, {0, 1, 2}, {0, 1, 2}], 3))
    check_sampleable(history([{0}, {0, 1, 2}, {0, 1, 2}], 4))
