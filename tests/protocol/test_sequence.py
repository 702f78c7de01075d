"""What the order in time decides: against plain Python, and on orders that are planted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ncf.data.interactions import Interactions, from_columns
from ncf.protocol.sequence import N_FOLLOWING, measure
from ncf.protocol.splitting import HeldOut, Split, leave_one_out


def rows(seed: int, n_users: int = 60, n_items: int = 40) -> Interactions:
    """Returns interactions with ties of time, short users, and gaps of seconds and of hours."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, n_users, 12 * n_users)
    items = rng.integers(0, n_items, len(users))
    times = 10**9 + rng.integers(0, 30, len(users)) * rng.choice([20, 7200], len(users))
    return from_columns("rows", users, items, times)


def plain_python(data: Interactions, split: Split) -> list[float]:
    """Returns the figures, less the shuffled one, as the module's words read."""
    tests = dict(zip(split.test.users.tolist(), split.test.items.tolist(), strict=True))
    validations = dict(
        zip(split.validation.users.tolist(), split.validation.items.tolist(), strict=True)
    )
    in_session, tied_test, tied_validation, hits, later = [], [], [], [], []
    sequences, train_times = {}, []
    for user in range(data.n_users):
        part = slice(*data.indptr[user : user + 2])
        pairs = list(zip(data.items[part].tolist(), data.timestamps[part].tolist(), strict=True))
        known = [pair for pair in pairs if pair[0] != tests.get(user)]
        train = [pair for pair in known if pair[0] != validations.get(user)]
        sequences[user] = [item for item, _ in train]
        train_times += [time for _, time in train]
        for item, time in pairs:
            if item == tests.get(user):
                tied_test.append([other for _, other in pairs].count(time) > 1)
        for place, (item, time) in enumerate(known):
            if item == validations.get(user):
                in_session.append(time - known[place - 1][1] <= 60)
                tied_validation.append([other for _, other in known].count(time) > 1)
    follows: Counter[tuple[int, int]] = Counter()
    for sequence in sequences.values():
        follows.update(pairwise(sequence))
    for user, target in validations.items():
        before = sequences[user][-1]
        counts = {b: n for (a, b), n in follows.items() if a == before and b not in sequences[user]}
        wins = sum(n >= counts.get(target, np.inf) for n in counts.values())
        hits.append(0 < wins <= N_FOLLOWING)
    for user, item in tests.items():
        part = slice(*data.indptr[user : user + 2])
        time = data.timestamps[part][data.items[part] == item][0]
        later.append(np.mean([other > time for other in train_times]))
    return [float(np.mean(one)) for one in (in_session, tied_test, tied_validation, hits, later)]


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_plain_python(seed: int) -> None:
    data = rows(seed)
    split = leave_one_out(data)
    found = measure(data, split)
    assert [
        found.in_session, found.tied_test, found.tied_validation, found.followed, found.later
    ] == pytest.approx(plain_python(data, split))  # fmt: skip


def test_a_test_item_may_be_any_of_a_user() -> None:
    data = rows(3)
    whole = leave_one_out(data)
    first = HeldOut(whole.test.users, data.items[data.indptr[whole.test.users]])
    split = replace(whole, test=first)  # as a ready-made split may have it
    found = measure(data, split)
    in_session, tied_test, *_ = plain_python(data, split)
    assert (found.in_session, found.tied_test) == pytest.approx((in_session, tied_test))


def test_an_order_that_is_planted_is_seen() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(300), 12)
    starts = rng.integers(0, 400, 300)
    in_turn = (np.repeat(starts, 12) + np.tile(np.arange(12), 300)) % 400  # one after the other
    times = 10**9 + np.tile(np.arange(12), 300) * 3600
    data = from_columns("planted", users, in_turn, times)
    found = measure(data, leave_one_out(data))
    assert found.followed > 0.9
    assert found.followed_shuffled < 0.7
    assert (found.in_session, found.tied_test, found.tied_validation) == (0, 0, 0)
    at_random = from_columns("random", users, rng.integers(0, 400, len(users)), times)
    found = measure(at_random, leave_one_out(at_random))
    assert found.followed < 0.1


def test_the_same_seed_says_the_same() -> None:
    data = rows(4)
    split = leave_one_out(data)
    assert measure(data, split, seed=1) == measure(data, split, seed=1)
