"""The time since a user's latest known item, against a search in plain Python."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from ncf.protocol import gaps
from ncf.protocol.splitting import HeldOut, leave_one_out
from ncf.protocol.time_split import split_by_time
from tests.protocol.test_splitting import interactions_of
from tests.protocol.test_time_split import first_touches, rows_of


@pytest.mark.parametrize("seed", range(3))
def test_gaps_agree_with_a_search(seed: int) -> None:
    rows = rows_of(seed)
    data = interactions_of(rows)
    time_of = {(user, item): time for user, item, time in first_touches(rows)}
    for split in (leave_one_out(data), split_by_time(data, (0.6, 0.8), "all")):
        for known, held_out in (
            (split.train, split.validation),
            (split.train_and_validation, split.test),
        ):
            pairs = zip(known.user_of.tolist(), known.items.tolist(), strict=True)
            latest: dict[int, int] = {}
            for user, item in pairs:
                latest[user] = max(latest.get(user, 0), time_of[user, item])
            wanted = [
                time_of[user, item] - latest[user]
                for user, item in zip(held_out.users.tolist(), held_out.items.tolist(), strict=True)
            ]
            assert gaps.gaps(data, known, held_out).tolist() == wanted


def test_there_is_no_gap_where_nothing_is_known() -> None:
    data = interactions_of([(0, 0, 1), (0, 1, 5), (1, 0, 2), (1, 1, 9)])
    known = leave_one_out(interactions_of([(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 0, 2)])).train
    empty = known.__class__(np.array([0, 0, 1]), known.items[:1], 2, known.items[:1])
    asked = HeldOut(np.array([0, 1], np.int32), np.array([1, 1], np.int32))
    assert gaps.gaps(data, empty, asked).tolist() == [-1, 7]


def test_the_examples_of_the_module() -> None:
    assert doctest.testmod(gaps).failed == 0
