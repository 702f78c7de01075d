"""Sampling against sets, and its uniformity against the chi-square distribution."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from ncf.protocol import sampling
from ncf.protocol.sampling import (
    check_sampleable,
    draw_candidates,
    draw_negatives,
    shuffle,
    touched_filter,
)

Csr = tuple[NDArray[np.int64], NDArray[np.int32]]


def csr(rows: list[set[int]]) -> Csr:
    indptr = np.cumsum([0] + [len(row) for row in rows])
    return indptr, np.array([i for row in rows for i in sorted(row)], np.int32)


def random_rows(n_items: int, lengths: list[int]) -> list[set[int]]:
    rng = np.random.default_rng(0)
    return [set(rng.choice(n_items, n, replace=False).tolist()) for n in lengths]


# lengths that take every way: no row, Bloom filter, exact bitmap, ranks, all but one item
LENGTHS = [0, 1, 3, 12, 13, 40, 199, 201, 399]
N_ITEMS = 400


def test_negatives_are_never_in_the_row() -> None:
    rows = random_rows(N_ITEMS, LENGTHS)
    users = np.repeat(np.arange(len(rows), dtype=np.int32), 300)
    negatives = draw_negatives(*csr(rows), N_ITEMS, users, 4, seed=1)
    assert negatives.shape == (len(users), 4)
    assert negatives.dtype == np.int32
    for user, drawn in zip(users, negatives, strict=True):
        assert not rows[user] & set(drawn.tolist())
        assert drawn.min() >= 0
        assert drawn.max() < N_ITEMS


def test_negatives_reach_every_other_item() -> None:
    rows = random_rows(N_ITEMS, LENGTHS)
    users = np.repeat(np.arange(len(rows), dtype=np.int32), 5000)
    negatives = draw_negatives(*csr(rows), N_ITEMS, users, 2, seed=2).reshape(len(rows), -1)
    for row, drawn in zip(rows, negatives, strict=True):
        assert set(drawn.tolist()) == set(range(N_ITEMS)) - row


@pytest.mark.parametrize("row", [set(), {0}, {2, 5}, {1, 2, 3, 4, 5, 6}], ids=len)
def test_negatives_are_uniform(row: set[int]) -> None:
    users = np.zeros(20_000, np.int32)
    counts = np.bincount(draw_negatives(*csr([row]), 10, users, 3, seed=3).ravel(), minlength=10)
    assert chisquare(np.delete(counts, sorted(row))).pvalue > 0.001


@pytest.mark.parametrize("n_touched", [2, 20], ids=["Bloom filter", "exact bitmap"])
def test_negatives_are_uniform_behind_the_filter(n_touched: int) -> None:
    (row,) = random_rows(200, [n_touched])
    users = np.zeros(50_000, np.int32)
    counts = np.bincount(draw_negatives(*csr([row]), 200, users, 4, seed=4).ravel(), minlength=200)
    assert chisquare(np.delete(counts, sorted(row))).pvalue > 0.001


@pytest.mark.parametrize("popular", [0.3, 1.0])
def test_a_share_of_negatives_is_drawn_by_popularity(popular: float) -> None:
    n_items, rows = 12, [{0, 1}, {1, 2, 3}, {3}, {3, 4, 5, 6}, {3, 5}]  # 7 to 11 are nobody's
    indptr, items = csr(rows)
    by_popularity = np.bincount(items, minlength=n_items) / len(items)
    first = popular * by_popularity + (1 - popular) / n_items
    touched = sorted(rows[1])
    expected = np.delete(first + first[touched].sum() / (n_items - len(touched)), touched)
    users = np.ones(50_000, np.int32)
    drawn = draw_negatives(indptr, items, n_items, users, 2, seed=12, popular=popular)
    counts = np.delete(np.bincount(drawn.ravel(), minlength=n_items), touched)
    assert chisquare(counts, expected * counts.sum()).pvalue > 0.001


def test_popular_negatives_end_where_only_unpopular_items_are_left() -> None:
    users = np.zeros(1000, np.int32)  # user 0 has every item that anybody has
    drawn = draw_negatives(*csr([{0, 1}, {1}]), 6, users, 2, seed=13, popular=1.0)
    assert set(drawn.ravel().tolist()) == {2, 3, 4, 5}


def test_columns_of_negatives_are_independent() -> None:
    drawn = draw_negatives(*csr([{0}]), 6, np.zeros(50_000, np.int32), 2, seed=5) - 1
    assert chisquare(np.bincount(drawn[:, 0] * 5 + drawn[:, 1], minlength=25)).pvalue > 0.001


def test_equal_seeds_give_equal_negatives() -> None:
    indptr, items = csr(random_rows(N_ITEMS, LENGTHS))
    users = np.arange(len(LENGTHS), dtype=np.int32)
    first = draw_negatives(indptr, items, N_ITEMS, users, 9, seed=6)
    np.testing.assert_array_equal(first, draw_negatives(indptr, items, N_ITEMS, users, 9, seed=6))
    filtered = touched_filter(indptr, items, N_ITEMS)
    np.testing.assert_array_equal(
        first, draw_negatives(indptr, items, N_ITEMS, users, 9, 6, filtered)
    )
    assert (first != draw_negatives(indptr, items, N_ITEMS, users, 9, seed=7)).any()
    assert (first != draw_negatives(indptr, items, N_ITEMS, users, 9, seed=2**64 - 1)).any()


def test_read_only_input_compiles_nothing_new() -> None:
    indptr, items = csr(random_rows(N_ITEMS, LENGTHS))
    users = np.arange(len(LENGTHS), dtype=np.int32)
    drawn = draw_negatives(indptr, items, N_ITEMS, users, 3, seed=8)
    for array in (indptr, items, users):
        array.flags.writeable = False
    again = draw_negatives(indptr, items, N_ITEMS, users, 3, seed=8)
    np.testing.assert_array_equal(drawn, again)
    assert len(sampling._fill_negatives.signatures) == 1


def test_user_with_every_item_is_refused() -> None:
    indptr, _ = csr([{0}, {0, 1, 2}, {0, 1, 2}])
    with pytest.raises(ValueError, match=r"2 of 3 users \(first: user 1\) have all 3 items"):
        check_sampleable(indptr, 3)
    check_sampleable(indptr, 4)


def test_candidates_are_distinct_and_untouched() -> None:
    rows = random_rows(N_ITEMS, LENGTHS)
    users = np.arange(len(rows), dtype=np.int32)
    in_history = np.array([min(row, default=7) for row in rows], np.int32)
    for positives in (in_history, np.full(len(rows), 399, np.int32), np.zeros(len(rows), np.int32)):
        candidates = draw_candidates(*csr(rows), N_ITEMS, users, positives, 100, seed=9)
        np.testing.assert_array_equal(candidates[:, 0], positives)
        for row, positive, drawn in zip(rows, positives, candidates[:, 1:], strict=True):
            untouched = set(range(N_ITEMS)) - row - {int(positive)}
            kept = drawn[drawn >= 0].tolist()
            assert set(kept) <= untouched
            assert len(set(kept)) == len(kept) == min(100, len(untouched))
            assert (drawn[len(kept) :] == -1).all()


def test_too_few_untouched_items_are_all_taken() -> None:
    candidates = draw_candidates(
        *csr([{0, 1, 3}]), 6, np.zeros(1, np.int32), np.array([3], np.int32), 5, seed=10
    )
    assert candidates[0, 0] == 3
    assert set(candidates[0, 1:4].tolist()) == {2, 4, 5}
    np.testing.assert_array_equal(candidates[0, 4:], [-1, -1])


def test_candidates_are_uniform() -> None:
    users = np.zeros(30_000, np.int32)
    positives = np.full(30_000, 4, np.int32)
    candidates = draw_candidates(*csr([{1, 4}]), 8, users, positives, 2, seed=11)
    untouched = np.array([0, 2, 3, 5, 6, 7])
    low = np.searchsorted(untouched, candidates[:, 1:].min(axis=1))
    high = np.searchsorted(untouched, candidates[:, 1:].max(axis=1))
    pairs = np.bincount(low * 6 + high, minlength=36).reshape(6, 6)
    assert chisquare(pairs[np.triu_indices(6, 1)]).pvalue > 0.001  # each of the 15 sets of two


def test_equal_seeds_give_equal_candidates() -> None:
    rows = csr(random_rows(N_ITEMS, LENGTHS))
    users, positives = np.arange(9, dtype=np.int32), np.full(9, 5, np.int32)
    first = draw_candidates(*rows, N_ITEMS, users, positives, 50, seed=12)
    again = draw_candidates(*rows, N_ITEMS, users, positives, 50, seed=12)
    other = draw_candidates(*rows, N_ITEMS, users, positives, 50, seed=13)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_shuffle_is_a_uniform_permutation() -> None:
    seen = np.zeros(6, np.int64)
    for seed in range(6000):
        values = np.arange(3)
        shuffle(values, seed)
        assert sorted(values.tolist()) == [0, 1, 2]
        seen[values[0] * 2 + (values[1] > values[2])] += 1
    assert chisquare(seen).pvalue > 0.001
