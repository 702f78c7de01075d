"""Where the results on test come from: by the time since what is known, by user and by item.

A mean over users hides that a model may live by one kind of test item: by the next one of the same
session, by active users, by popular items. So the same ranks are read once more, part by part. And
two models of equal ranks may show the same few items to all, or a large part of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncf.data.times import resolution_of
from ncf.protocol.gaps import gaps
from ncf.protocol.metrics import summarize
from ncf.study.plan import Plan

_SAME = {1: "the same second", 60: "the same minute", 86_400: "the same day"}
"""What a gap of 0 is called, by the seconds that the times can tell apart."""
_GAPS = {
    "under a minute": 60,
    "under ten minutes": 600,
    "under a day": 86_400,
    "a day or more": np.inf,
}  # the time since the user's latest known item is below this


@dataclass(frozen=True)
class Part:
    """Some of the test items, and how each contestant ranks them.

    Attributes:
        by: What the test items are divided by.
        name: Which of them these are.
        n: Their number.
        metrics: By contestant, the metric of the objective on the sampled candidates and over the
            full catalogue; without any where there are no such items.
    """

    by: str
    name: str
    n: int
    metrics: dict[str, list[float]]


@dataclass(frozen=True)
class Breakdown:
    """The results on test in parts, and the reach of the lists.

    Attributes:
        parts: The parts, those by the same thing one after the other.
        coverage: By contestant, the share of the catalogue that is in the list of at least one
            of the users.
        n_listed: The number of users whose lists were made.
    """

    parts: tuple[Part, ...]
    coverage: dict[str, float]
    n_listed: int


def break_down(
    names: Sequence[str],
    ranks: Mapping[str, NDArray[np.int32]],
    plan: Plan,
    coverage: Mapping[str, float],
    n_listed: int,
) -> Breakdown:
    """Returns the results on test in parts.

    Args:
        names: The names of the contestants.
        ranks: The rank of each test item, (V,), by NAME_sampled and NAME_full.
        plan: The plan of the study.
        coverage: What the lists of each contestant cover.
        n_listed: The number of users whose lists were made.
    """
    metric, users = plan.settings.objective.sampled, plan.split.test.users

    def values(name: str, is_chosen: NDArray[np.bool_]) -> list[float]:
        kinds = (ranks[f"{name}_{kind}"][is_chosen] for kind in ("sampled", "full"))
        return [metric.value(summarize(kind, metric.k, users[is_chosen])) for kind in kinds]

    parts = [
        Part(by, part, n, {name: values(name, is_chosen) for name in names} if n else {})
        for by, part, is_chosen in _parts(plan)
        for n in [int(np.count_nonzero(is_chosen))]
    ]
    return Breakdown(tuple(parts), dict(coverage), n_listed)


def breakdown_of(recorded: Mapping[str, Any] | None) -> Breakdown | None:
    """Returns a recorded breakdown; None where an older version recorded none."""
    if recorded is None:
        return None
    parts = tuple(Part(**part) for part in recorded["parts"])
    return Breakdown(parts, recorded["coverage"], recorded["n_listed"])


def _parts(plan: Plan) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yields what is divided by, the name of a part, and which test items, (V,), are in it."""
    split = plan.split
    known = split.train_and_validation
    if plan.interactions.has_times:
        by = "time since the user's latest known item"
        gap = gaps(plan.interactions, known, split.test)
        below = {_SAME[resolution_of(plan.interactions.timestamps)]: 1, **_GAPS}
        for (name, end), start in zip(below.items(), [0, *below.values()], strict=False):
            yield by, name, (gap >= start) & (gap < end)
        if (gap < 0).any():
            yield by, "nothing is known of the user", gap < 0
    n_known = np.diff(known.indptr)[split.test.users]
    quarters = np.quantile(n_known, [0.25, 0.75]).round()
    ends = [-np.inf, *quarters, np.inf]
    names = (
        f"at most {quarters[0]:.0f}", f"more, at most {quarters[1]:.0f}", f"over {quarters[1]:.0f}"
    )  # fmt: skip
    for name, (low, high) in zip(names, pairwise(ends), strict=True):
        yield "items that are known of the user", name, (n_known > low) & (n_known <= high)
    popularity = known.popularity
    order = np.argsort(-popularity, kind="stable")
    is_head = np.zeros(known.n_items, bool)
    is_head[order[np.cumsum(popularity[order]) <= popularity.sum() / 2]] = True
    head, is_new = is_head[split.test.items], popularity[split.test.items] == 0
    by = "popularity of the item"
    yield by, f"head: the {is_head.sum():,} items with half of all interactions", head
    yield by, "tail: the other items", ~head & ~is_new
    yield by, "new: nobody has it in train or validation", is_new
