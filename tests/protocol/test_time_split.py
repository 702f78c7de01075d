"""The split by time against a plain-Python split of the same rows, and its refusals."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from ncf.data.interactions import from_columns
from ncf.protocol import choice, time_split
from ncf.protocol.choice import SplitChoice, parse_split, split_as
from ncf.protocol.splitting import HeldOut
from ncf.protocol.time_split import split_by_time
from tests.protocol.test_splitting import check_form, interactions_of, pairs_of, random_rows

Rows = list[tuple[int, int, int]]


def rows_of(seed: int) -> Rows:
    """Rows of many different times, some equal; every user and item occurs."""
    rng = np.random.default_rng(seed)
    return [(user, item, int(rng.integers(0, 120))) for user, item, _ in random_rows(seed)]


def first_touches(rows: Rows) -> Rows:
    """Returns each pair at its first time, in the order of time and then of the file."""
    found: dict[tuple[int, int], int] = {}
    for user, item, time in sorted(rows, key=lambda row: row[2]):  # stable
        found.setdefault((user, item), time)
    return [(user, item, time) for (user, item), time in found.items()]


def targets_by_hand(period: Rows, known: set[int], targets: str) -> list[tuple[int, int]]:
    """Returns the held-out pairs of a period, by user and then in the order of time."""
    held_out = []
    for user in sorted({user for user, _, _ in period} & known):
        items = [item for one, item, _ in period if one == user]
        chosen = {"last": items[-1:], "first": items[:1], "all": items}[targets]
        held_out += [(user, item) for item in chosen]
    return held_out


def in_order(held_out: HeldOut) -> list[tuple[int, int]]:
    return list(zip(held_out.users.tolist(), held_out.items.tolist(), strict=True))


@pytest.mark.parametrize("targets", ["last", "first", "all"])
@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_a_plain_python_split(seed: int, targets: str) -> None:
    rows = rows_of(seed)
    split = split_by_time(interactions_of(rows), (0.6, 0.8), targets)
    touches = first_touches(rows)
    times = sorted(time for _, _, time in touches)
    first, second = times[int(0.6 * len(times))], times[int(0.8 * len(times))]
    train = [row for row in touches if row[2] < first]
    validation = [row for row in touches if first <= row[2] < second]
    test = [row for row in touches if row[2] >= second]
    assert pairs_of(split.train) == {row[:2] for row in train}
    assert pairs_of(split.train_and_validation) == {row[:2] for row in train + validation}
    assert pairs_of(split.whole) == {row[:2] for row in touches}
    trained = {user for user, _, _ in train}
    assert in_order(split.validation) == targets_by_hand(validation, trained, targets)
    fitted = trained | {user for user, _, _ in validation}
    assert in_order(split.test) == targets_by_hand(test, fitted, targets)
    for history in (split.train, split.train_and_validation, split.whole):
        check_form(history)
    # the order that the recent block reads ends before the cut
    assert split.train.by_time is not None
    for user in range(40):
        oldest_first = [item for one, item, _ in train if one == user]
        found = split.train.by_time[slice(*split.train.indptr[user : user + 2])]
        assert found.tolist() == oldest_first


def test_equal_times_at_a_cut_all_come_after_it_and_the_order_of_the_file_decides() -> None:
    users = np.array([0, 1, 0, 0, 0, 1, 1, 0])
    items = np.array([0, 0, 1, 3, 2, 2, 1, 4])
    times = np.array([1, 1, 2, 2, 2, 2, 3, 3])  # the cut at 0.5 lies among the four of time 2
    data = from_columns("equal", users, items, times)
    split = split_by_time(data, (0.5, 0.8))
    assert pairs_of(split.train) == {(0, 0), (1, 0)}
    assert in_order(split.validation) == [(0, 2), (1, 2)]
    assert in_order(split.test) == [(0, 4), (1, 1)]
    assert in_order(split_by_time(data, (0.5, 0.8), "first").validation) == [(0, 1), (1, 2)]


def test_users_without_a_history_are_counted_and_not_evaluated() -> None:
    users = np.array([0, 1, 0, 2, 2, 1, 3])
    items = np.array([0, 1, 1, 0, 1, 2, 0])
    split = split_by_time(from_columns("new", users, items, np.arange(7)), (0.3, 0.6), "all")
    assert in_order(split.validation) == [(0, 1)]  # user 2 is new
    assert in_order(split.test) == [(1, 2), (2, 1)]  # and is known by now; user 3 is new
    assert split.notes == (
        "validation: 2 interactions of 2 users; 1 of them are evaluated, by 1 items, and the other "
        "1 have no interaction before the period",
        "test: 3 interactions of 3 users; 2 of them are evaluated, by 2 items, and the other 1 "
        "have no interaction before the period",
    )


def test_what_cannot_be_split_by_time_is_refused_with_the_remedy() -> None:
    users, items = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 0])
    for times, message in (
        (None, r"toy: --split time needs the time of each .*--columns timestamp=.* leave out"),
        (np.full(4, 9), r"toy: .* before the first cut .* 1970-01-01 00:00:09.*time:0.8,0.9"),
        (np.array([0, 1, 1, 1]), "between the two"),
    ):
        with pytest.raises(ValueError, match=message):
            split_by_time(from_columns("toy", users, items, times), (0.5, 0.75))
    strangers = from_columns("toy", np.array([0, 1, 2]), np.array([0, 1, 1]), np.arange(3))
    with pytest.raises(ValueError, match=r"none of the 1 users .* validation period has one"):
        split_by_time(strangers, (0.4, 0.7))


def test_the_options_are_read_and_written() -> None:
    assert parse_split() == SplitChoice()
    assert parse_split("time") == SplitChoice((0.9, 0.95))
    for option, targets in (("time:0.1,0.30000000000000004", "first"), ("time", "all")):
        found = parse_split(option, targets)
        assert parse_split(found.option, found.targets) == found
    for wrong in ("tim", "time:0.9", "time:0.95,0.9", "time:0,0.5", "time:a,b", "time:0.9,1"):
        with pytest.raises(ValueError, match=f"--split {wrong}: must be leave-one-out, time"):
            parse_split(wrong)
    with pytest.raises(ValueError, match="--targets most: known are last, first, all"):
        parse_split("time", "most")
    with pytest.raises(ValueError, match="give --targets with --split time"):
        parse_split(targets="all")


def test_the_protocol_tells_the_splits_apart() -> None:
    data = interactions_of(rows_of(0))
    protocols = {
        split_as(parse_split(*given), data).protocol
        for given in (
            ("leave-one-out",), ("time",), ("time", "first"), ("time", "all"), ("time:0.8,0.95",),
        )
    }  # fmt: skip
    assert len(protocols) == 5
    assert "leave-one-out by time" in protocols


def test_the_examples_of_the_modules() -> None:
    for module in (time_split, choice):
        found = doctest.testmod(module)
        assert found.attempted > 0
        assert found.failed == 0
