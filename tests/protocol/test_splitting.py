"""Leave-one-out against a plain-Python split of the same interactions, and by hand."""

from __future__ import annotations

import doctest
from collections import defaultdict

import numpy as np
import pytest

from ncf.data.interactions import Interactions, from_columns
from ncf.protocol import splitting
from ncf.protocol.splitting import HeldOut, History, Split, history_of, leave_one_out

Pairs = set[tuple[int, int]]


def pairs_of(history: History) -> Pairs:
    return set(zip(history.user_of.tolist(), history.items.tolist(), strict=True))


def held_out_of(held_out: HeldOut) -> Pairs:
    return set(zip(held_out.users.tolist(), held_out.items.tolist(), strict=True))


def check_form(history: History) -> None:
    assert history.indptr.dtype == np.int64
    assert history.items.dtype == np.int32
    for start, stop in zip(history.indptr[:-1], history.indptr[1:], strict=True):
        assert (np.diff(history.items[start:stop]) > 0).all()


def split_by_hand(
    rows: list[tuple[int, int, int]],
) -> tuple[Pairs, Pairs, Pairs]:
    """Splits rows of (user, item, timestamp) in the file's order with dicts and sorted()."""
    first: dict[int, dict[int, int]] = defaultdict(dict)
    for user, item, timestamp in sorted(rows, key=lambda row: row[2]):  # stable
        first[user].setdefault(item, timestamp)  # a repeated pair counts once, at its first time
    train: Pairs = set()
    validation: Pairs = set()
    test: Pairs = set()
    for user, times in first.items():
        items = list(times)
        if len(items) >= 3:
            test.add((user, items.pop()))
            validation.add((user, items.pop()))
        train |= {(user, item) for item in items}
    return train, validation, test


def random_rows(seed: int) -> list[tuple[int, int, int]]:
    """Users of 1 to 9 rows, few distinct times, repeated pairs; every user and item occurs."""
    rng = np.random.default_rng(seed)
    n_users, n_items = 40, 12
    users = np.repeat(np.arange(n_users), rng.integers(1, 10, n_users))
    users = np.concatenate([users, np.zeros(n_items, np.int64)])  # user 0 touches everything
    items = rng.integers(0, n_items, len(users))
    items[-n_items:] = np.arange(n_items)
    order = rng.permutation(len(users))
    times = rng.integers(0, 4, len(users))
    return list(zip(users[order].tolist(), items[order].tolist(), times.tolist(), strict=True))


def interactions_of(rows: list[tuple[int, int, int]]) -> Interactions:
    users, items, times = np.array(rows).T
    return from_columns("random", users, items, times)


@pytest.mark.parametrize("seed", range(10))
def test_agrees_with_a_plain_python_split(seed: int) -> None:
    rows = random_rows(seed)
    split = leave_one_out(interactions_of(rows))
    train, validation, test = split_by_hand(rows)
    assert pairs_of(split.train) == train
    assert held_out_of(split.validation) == validation
    assert held_out_of(split.test) == test
    assert len(split.train.items) == len(train)
    for history in (split.train, split.train_and_validation, split.whole):
        check_form(history)
        assert (history.n_users, history.n_items) == (40, 12)
    for held_out in (split.validation, split.test):
        assert (np.diff(held_out.users) > 0).all()
        assert held_out.users.dtype == held_out.items.dtype == np.int32


def test_equal_timestamps_keep_the_order_of_the_file() -> None:
    items = np.array([3, 1, 2, 0])
    split = leave_one_out(
        from_columns("equal", np.array([0, 0, 0, 1]), items, np.array([5, 5, 5, 5]))
    )
    assert held_out_of(split.test) == {(0, 2)}
    assert held_out_of(split.validation) == {(0, 1)}
    assert pairs_of(split.train) == {(0, 3), (1, 0)}


def test_users_with_fewer_than_three_interactions_only_train() -> None:
    users = np.array([0, 1, 1, 2, 2, 2])
    items = np.array([0, 0, 1, 0, 1, 2])
    split = leave_one_out(from_columns("short", users, items, np.arange(6)))
    assert pairs_of(split.train) == {(0, 0), (1, 0), (1, 1), (2, 0)}
    assert split.validation.users.tolist() == split.test.users.tolist() == [2]


def test_a_repeated_pair_does_not_make_a_third_interaction() -> None:
    users = np.array([0, 0, 0, 1, 1, 1])
    items = np.array([0, 1, 0, 0, 1, 2])  # user 0 has two distinct items
    split = leave_one_out(from_columns("repeated", users, items, np.arange(6)))
    assert split.test.users.tolist() == [1]


def test_nobody_to_evaluate_is_an_error() -> None:
    two_each = from_columns("two-each", np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2]))
    with pytest.raises(ValueError, match=r"two-each: .* at least 3 distinct items.* 2 users"):
        leave_one_out(two_each)


@pytest.mark.parametrize("seed", range(3))
def test_histories_know_the_order_of_time(seed: int) -> None:
    interactions = interactions_of(random_rows(seed))
    split = leave_one_out(interactions)
    for history, n_held_out in (
        (split.train, 2),
        (split.train_and_validation, 1),
        (split.whole, 0),
    ):
        assert history.by_time is not None
        for user in range(history.n_users):
            oldest_first = interactions.items[slice(*interactions.indptr[user : user + 2])]
            n = len(oldest_first) - (n_held_out if len(oldest_first) >= 3 else 0)
            found = history.by_time[slice(*history.indptr[user : user + 2])]
            assert found.tolist() == oldest_first[:n].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_unions_hold_each_pair_once(seed: int) -> None:
    rows = random_rows(seed)
    split = leave_one_out(interactions_of(rows))
    train, validation, test = split_by_hand(rows)
    assert pairs_of(split.train_and_validation) == train | validation
    assert len(split.train_and_validation.items) == len(train) + len(validation)
    assert pairs_of(split.whole) == {(user, item) for user, item, _ in rows}
    assert len(split.whole.items) == len(train) + len(validation) + len(test)


def test_history_of_groups_pairs_and_counts_popularity() -> None:
    history = history_of(
        np.array([2, 0, 2, 0], np.int32), np.array([1, 3, 0, 1], np.int32), n_users=4, n_items=5
    )
    assert history.indptr.tolist() == [0, 2, 2, 4, 4]  # users 1 and 3 have nothing
    assert history.items.tolist() == [1, 3, 0, 1]
    assert history.user_of.tolist() == [0, 0, 2, 2]
    assert history.popularity.tolist() == [1, 2, 0, 1, 0]


def test_large_catalogues_do_not_overflow() -> None:
    n_users, n_items = 300_000, 200_000  # U x I is beyond int32
    users = np.array([n_users - 1, n_users - 1, 0], np.int32)
    items = np.array([n_items - 1, 7, n_items - 1], np.int32)
    history = history_of(users, items, n_users, n_items)
    assert pairs_of(history) == {(0, n_items - 1), (n_users - 1, 7), (n_users - 1, n_items - 1)}


def test_the_three_parts_are_disjoint(split: Split) -> None:
    parts = [pairs_of(split.train), held_out_of(split.validation), held_out_of(split.test)]
    assert sum(map(len, parts)) == len(set().union(*parts))


def test_examples_in_the_docstrings() -> None:
    results = doctest.testmod(splitting, extraglobs={"np": np})
    assert results.attempted > 0
    assert results.failed == 0
