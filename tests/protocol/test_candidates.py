"""Candidates against sets, and their uniformity against the chi-square distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chisquare

from ncf.protocol.candidates import draw_candidates
from ncf.protocol.splitting import History

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


def test_what_came_later_is_touched_as_if_it_were_in_the_row() -> None:
    rows = random_rows(N_ITEMS, LENGTHS)
    later = [set(sorted(row)[::3]) | {5} for row in rows]  # some in the row too, as in no split
    first = [row - part for row, part in zip(rows, later, strict=True)]
    users = np.arange(len(rows), dtype=np.int32)
    for positives in (np.full(len(rows), 5, np.int32), np.full(len(rows), 399, np.int32)):
        together = [row | part for row, part in zip(rows, later, strict=True)]
        expected = draw_candidates(*csr(together), N_ITEMS, users, positives, 100, seed=9)
        for parts in (first, rows):
            found = draw_candidates(
                *csr(parts), N_ITEMS, users, positives, 100, 9, History(*csr(later), N_ITEMS)
            )
            np.testing.assert_array_equal(found, expected)


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
