"""The results on test in parts, against a count over each test item in plain Python."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest

from ncf.data.interactions import Interactions
from ncf.protocol.splitting import Split, leave_one_out
from ncf.protocol.time_split import split_by_time
from ncf.study.breakdown import Breakdown, break_down, breakdown_of
from tests.conftest import planted
from tests.study.planted import plan_of

DATA = planted(160, 80, seed=1)


def broken_down(split: Split, data: Interactions = DATA) -> tuple[Breakdown, list[int]]:
    """Returns the parts of random ranks, and the ranks."""
    plan = replace(plan_of(split), interactions=data)
    rng = np.random.default_rng(0)
    sampled, full = rng.integers(1, 20, (2, len(split.test.users))).astype(np.int32)
    ranks = {"a_sampled": sampled, "a_full": full}
    return break_down(["a"], ranks, plan, {"a": 0.5}, 7), sampled.tolist()


@pytest.mark.parametrize("split", [leave_one_out(DATA), split_by_time(DATA, (0.6, 0.8), "all")])
def test_each_part_has_its_items_and_their_metric(split: Split) -> None:
    found, ranks = broken_down(split)
    by = {part.by for part in found.parts}
    assert len(by) == 3
    for one in by:
        parts = [part for part in found.parts if part.by == one]
        assert sum(part.n for part in parts) == len(ranks)  # each item is in one of them
    times: dict[str, dict[int, list[float]]] = {}
    known = split.train_and_validation
    assert known.by_time is not None
    for n, (user, item) in enumerate(
        zip(split.test.users.tolist(), split.test.items.tolist(), strict=True)
    ):
        mine = slice(*DATA.indptr[user : user + 2])
        time_of = dict(zip(DATA.items[mine].tolist(), DATA.timestamps[mine].tolist(), strict=True))
        gap = time_of[item] - time_of[int(known.by_time[known.indptr[user + 1] - 1])]
        name = "the same second" if gap == 0 else "under a minute"  # no time is above 50 seconds
        value = 1 / math.log2(ranks[n] + 1) if ranks[n] <= 10 else 0.0
        times.setdefault(name, {}).setdefault(user, []).append(value)
    for part in found.parts:
        if part.by.startswith("time since") and part.n > 0:
            users = times[part.name]
            assert part.n == sum(map(len, users.values()))
            wanted = np.mean([np.mean(values) for values in users.values()])
            assert part.metrics["a"][0] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("step", "name"), [(1, "the same second"), (60, "the same minute"), (86_400, "the same day")]
)
def test_a_gap_of_0_is_called_what_the_times_can_tell(step: int, name: str) -> None:
    data = replace(DATA, timestamps=DATA.timestamps // 4 * step)
    split = leave_one_out(data)
    found, _ = broken_down(split, data)
    times = [data.timestamps[start:stop] for start, stop in pairwise(data.indptr)]
    n_ties = sum(int(mine[-1] == mine[-2]) for mine in times if len(mine) >= 3)
    assert n_ties > 0
    assert (found.parts[0].name, found.parts[0].n) == (name, n_ties)


def test_head_and_tail_are_told_by_what_is_known() -> None:
    split = leave_one_out(DATA)
    found, _ = broken_down(split)
    head, tail, new = (part for part in found.parts if part.by.startswith("popularity"))
    counts = np.bincount(split.train_and_validation.items, minlength=80)
    n_head = int(head.name.split()[2])
    assert np.sort(counts)[::-1][:n_head].sum() <= counts.sum() / 2
    assert np.sort(counts)[::-1][: n_head + 1].sum() > counts.sum() / 2
    assert new.n == int((counts[split.test.items] == 0).sum())
    assert head.n + tail.n + new.n == len(split.test.items)


def test_it_passes_the_record_and_old_records_have_none() -> None:
    found, _ = broken_down(leave_one_out(DATA))
    assert breakdown_of(json.loads(json.dumps(asdict(found)))) == found
    assert breakdown_of(None) is None


def test_data_without_times_have_no_parts_by_time() -> None:
    split = leave_one_out(DATA)
    plan = replace(plan_of(split), interactions=replace(DATA, has_times=False))
    ranks = {f"a_{kind}": np.ones(len(split.test.users), np.int32) for kind in ("sampled", "full")}
    found = break_down(["a"], ranks, plan, {"a": 0.5}, 7)
    assert {part.by for part in found.parts} == {
        "items that are known of the user",
        "popularity of the item",
    }
