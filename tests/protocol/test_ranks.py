"""Ranks with fake scorers: ties, NaN and padding, and a brute-force ranking as the oracle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ncf.protocol import ranks
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import full_ranks, sampled_ranks, some_users
from ncf.protocol.splitting import HeldOut, History, history_of


@dataclass(frozen=True)
class Table:
    """A scorer that looks its scores (U, I) up, and notes how many users it was asked for."""

    scores: NDArray[np.float64]
    asked: list[int]

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float64]:
        """Returns the scores (B, C)."""
        self.asked.append(len(users))
        assert items.min() >= 0  # an embedding has no row -1
        return np.asarray(self.scores[users[:, None], items])

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Returns the scores (B, I)."""
        self.asked.append(len(users))
        return np.asarray(self.scores[users])


def table(scores: Any) -> Table:
    return Table(np.array(scores, np.float64), [])


def rank_by_hand(scores: list[float], positive: float) -> int:
    """1 + the number of the others that are not lower, one comparison at a time."""
    return 1 + sum(not other < positive for other in scores)


@dataclass(frozen=True)
class Case:
    """Random scores with ties, NaN and infinities; some users without history."""

    scorer: Table
    held_out: HeldOut
    seen: History
    candidates: NDArray[np.int32]


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    n_users, n_items, n_candidates = 30, 25, 8
    scores = rng.integers(0, 6, (n_users, n_items)).astype(np.float64)  # many ties
    scores[rng.random(scores.shape) < 0.1] = math.nan
    scores[rng.random(scores.shape) < 0.05] = -math.inf
    users = np.sort(rng.choice(n_users, 20, replace=False)).astype(np.int32)
    positives = rng.integers(0, n_items, n_users).astype(np.int32)
    candidates = np.full((len(users), 1 + n_candidates), -1, np.int32)
    candidates[:, 0] = positives[users]
    for row in candidates:
        others = np.setdiff1d(np.arange(n_items), row[:1])
        n = rng.integers(1, n_candidates + 1)
        row[1 : 1 + n] = rng.choice(others, n, replace=False)
    is_seen = rng.random((n_users, n_items)) < rng.random((n_users, 1)) * 0.9
    is_seen[np.arange(n_users), positives] = False
    is_seen[users[3]] = False
    seen_users, seen_items = np.nonzero(is_seen)
    seen = history_of(seen_users.astype(np.int32), seen_items.astype(np.int32), n_users, n_items)
    return Case(table(scores), HeldOut(users, positives[users]), seen, candidates)


@pytest.mark.parametrize("seed", range(10))
def test_sampled_ranks_agree_with_counting_by_hand(seed: int) -> None:
    case = random_case(seed)
    scores = case.scorer.scores
    expected = [
        rank_by_hand([scores[u, i] for i in row[1:] if i >= 0], scores[u, row[0]])
        for u, row in zip(case.held_out.users, case.candidates, strict=True)
    ]
    assert sampled_ranks(case.scorer, case.held_out.users, case.candidates).tolist() == expected


@pytest.mark.parametrize("seed", range(10))
def test_full_ranks_agree_with_counting_by_hand(seed: int) -> None:
    case = random_case(seed)
    scores, seen = case.scorer.scores, case.seen
    expected = []
    for u, positive in zip(case.held_out.users, case.held_out.items, strict=True):
        left_out = {*seen.items[seen.indptr[u] : seen.indptr[u + 1]].tolist(), int(positive)}
        others = [scores[u, i] for i in range(seen.n_items) if i not in left_out]
        expected.append(rank_by_hand(others, scores[u, positive]))
    assert full_ranks(case.scorer, case.held_out, seen).tolist() == expected


def test_a_users_other_items_do_not_compete_though_each_is_asked_for() -> None:
    scorer = table([[5.0, 4.0, 3.0, 2.0], [0.0, 1.0, 2.0, 3.0]])
    held_out = HeldOut(np.array([0, 0, 1], np.int32), np.array([2, 1, 0], np.int32))
    touched = history_of(
        np.array([0, 0, 0, 1, 1], np.int32), np.array([0, 1, 2, 0, 3], np.int32), 2, 4
    )
    assert full_ranks(scorer, held_out, touched).tolist() == [1, 1, 3]
    assert scorer.asked == [2]  # users, not items


@pytest.mark.parametrize("constant", [0.0, math.nan, math.inf, -math.inf])
def test_a_scorer_that_says_nothing_ranks_last(constant: float) -> None:
    n_users, n_items = 4, 15
    scorer = table(np.full((n_users, n_items), constant))
    users = np.arange(n_users, dtype=np.int32)
    held_out = HeldOut(users, np.array([0, 5, 9, 14], np.int32))
    candidates = np.stack([(item + np.arange(12)) % n_items for item in held_out.items])
    sampled = sampled_ranks(scorer, users, candidates.astype(np.int32))
    assert sampled.tolist() == [12] * n_users
    assert summarize(sampled, 10)["hit_ratio_10"] == 0
    seen = history_of(np.array([0, 0], np.int32), np.array([1, 2], np.int32), n_users, n_items)
    assert full_ranks(scorer, held_out, seen).tolist() == [13, 15, 15, 15]


def test_a_single_nan_counts_against_the_positive() -> None:
    scorer = table([[9.0, 1.0, math.nan, 2.0]])
    users, candidates = np.array([0], np.int32), np.array([[0, 1, 2, 3]], np.int32)
    assert sampled_ranks(scorer, users, candidates).tolist() == [2]
    nothing = History(np.zeros(2, np.int64), np.empty(0, np.int32), 4)
    held_out = HeldOut(users, np.array([0], np.int32))
    assert full_ranks(scorer, held_out, nothing).tolist() == [2]


def test_a_positive_of_nan_ranks_last() -> None:
    scorer = table([[math.nan, 1.0, -math.inf, 2.0]])
    users, candidates = np.array([0], np.int32), np.array([[0, 1, 2, 3]], np.int32)
    assert sampled_ranks(scorer, users, candidates).tolist() == [4]


def test_padding_neither_helps_nor_harms() -> None:
    scores = [[5.0, 1.0, 7.0, 3.0]]
    users = np.array([0], np.int32)
    plain = sampled_ranks(table(scores), users, np.array([[3, 0, 1]], np.int32))
    padded = sampled_ranks(table(scores), users, np.array([[3, 0, 1, -1, -1]], np.int32))
    assert plain.tolist() == padded.tolist() == [2]
    only = sampled_ranks(table(scores), users, np.array([[1, -1, -1]], np.int32))
    assert only.tolist() == [1]


def test_blocks_of_any_size_give_the_same_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case(99)
    sampled = sampled_ranks(case.scorer, case.held_out.users, case.candidates)
    full = full_ranks(case.scorer, case.held_out, case.seen)
    assert case.scorer.asked == [20, 20]
    row_bytes = (case.candidates.shape[1] * 128, case.seen.n_items * 4)
    for n in (1, 3, 7):  # 3 and 7 leave a part of a block at the end
        case.scorer.asked.clear()
        monkeypatch.setattr(ranks, "BLOCK_BYTES", n * row_bytes[0])
        again = sampled_ranks(case.scorer, case.held_out.users, case.candidates)
        assert again.tolist() == sampled.tolist()
        assert max(case.scorer.asked) == n
        case.scorer.asked.clear()
        monkeypatch.setattr(ranks, "BLOCK_BYTES", n * row_bytes[1])
        for n_threads in (1, 3):
            again = full_ranks(case.scorer, case.held_out, case.seen, n_threads)
            assert again.tolist() == full.tolist()
        assert max(case.scorer.asked) == n


def test_what_goes_wrong_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case(99)
    monkeypatch.setattr(ranks, "BLOCK_BYTES", case.seen.n_items * 4)  # a user at a time
    broken = table(case.scorer.scores[:5])  # has no scores of the users after it
    with pytest.raises(IndexError):
        full_ranks(broken, case.held_out, case.seen, n_threads=2)


def test_some_users_are_always_the_same_with_all_of_their_items() -> None:
    users = np.repeat(np.arange(0, 200, 2, dtype=np.int32), 3)
    held_out = HeldOut(users, np.arange(300, dtype=np.int32))
    some = some_users(held_out, 40)
    assert len(np.unique(some.users)) == 40
    assert (np.bincount(some.users)[np.unique(some.users)] == 3).all()
    assert (held_out.items[np.isin(users, some.users)] == some.items).all()
    assert (some_users(held_out, 40).users == some.users).all()
    assert (some_users(held_out, 40, seed=1).users != some.users).any()
    assert some_users(held_out) is held_out
