"""A split by time: what came before a moment is learned, what came from it on is asked for.

Two cuts, the same for all users, divide the time. Train comes before the first, the period of
validation lies between the two, and the period of test begins with the second. So no model has seen
anything, of any user, that is later than what it is asked for, as it is where a model is in use.

With E interactions, a cut at the quantile q is the time of number floor(q E), from 0, in the order
of time. Whatever has the very time of a cut comes after it, so that equal times are never divided.

A user's targets in a period are their last item in it, their first one, or all; of equal times the
later row of the file is the later one. A user without an interaction before the period cannot be
evaluated, and is counted. All that a model knows of a user is what lies before the cut, for each of
the user's targets the same: neither what it learns nor the last items that it reads reach into the
period, though items of the user may lie between the cut and the target. The other items that the
user touches in the period do not compete with the target.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ncf.data.interactions import Interactions
from ncf.data.times import in_words
from ncf.protocol.splitting import HeldOut, Split, history_of

QUANTILES = (0.9, 0.95)
TARGETS = ("last", "first", "all")


def cuts_of(interactions: Interactions, quantiles: tuple[float, float]) -> tuple[int, int]:
    """Returns the times of both cuts, in seconds since 1970.

    Raises:
        ValueError: The data have no times, or nothing lies before, between or after the cuts.
    """
    if not interactions.has_times:
        raise ValueError(
            f"{interactions.name}: --split time needs the time of each interaction, and the file "
            "has none; name its column with --columns timestamp=..., or leave out --split"
        )
    times = interactions.timestamps
    places = [int(quantile * len(times)) for quantile in quantiles]
    first, second = (int(time) for time in np.partition(times, places)[places])
    if not times.min() < first < second:
        raise ValueError(
            f"{interactions.name}: --split time needs interactions before the first cut and "
            f"between the two, and at the quantiles {quantiles[0]} and {quantiles[1]} the cuts are "
            f"{in_words(first)} and {in_words(second)}, the earliest time {in_words(times.min())}; "
            "give other quantiles, as in --split time:0.8,0.9, or times that differ"
        )
    return first, second


def split_by_time(
    interactions: Interactions, quantiles: tuple[float, float] = QUANTILES, targets: str = "last"
) -> Split:
    """Splits the interactions as the module says.

    Args:
        interactions: The interactions.
        quantiles: The share of all interactions that comes before each cut.
        targets: Which items of a user's are held out in a period: "last", "first" or "all".

    Raises:
        ValueError: As `cuts_of`, or nobody can be evaluated.

    >>> from ncf.data.interactions import from_columns
    >>> split = split_by_time(from_columns(
    ...     "toy", np.array([7, 8, 7, 8, 7]), np.array([1, 2, 2, 1, 3]), np.arange(5)), (0.4, 0.8))
    >>> split.train.items, split.validation.items, split.test.items  # items 1, 2, 3 are 0, 1, 2
    (array([0, 1], dtype=int32), array([1, 0], dtype=int32), array([2], dtype=int32))
    """
    first, second = cuts_of(interactions, quantiles)
    n_users, times = interactions.n_users, interactions.timestamps
    users = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(interactions.indptr))

    def between(is_chosen: NDArray[np.bool_]) -> HeldOut:
        return HeldOut(users[is_chosen], interactions.items[is_chosen])

    trained = between(times < first)
    validation_period = between((times >= first) & (times < second))
    test_period = between(times >= second)
    known = np.bincount(trained.users, minlength=n_users) > 0
    validation, on_validation = _evaluated("validation", validation_period, known, targets)
    known[validation_period.users] = True
    test, on_test = _evaluated("test", test_period, known, targets)
    return Split(
        history_of(trained.users, trained.items, n_users, interactions.n_items),
        validation,
        test,
        validation_period,
        test_period,
        (on_validation, on_test),
    )


def _evaluated(
    name: str, period: HeldOut, known: NDArray[np.bool_], targets: str
) -> tuple[HeldOut, str]:
    """Returns the targets of a period, and who has some and who is not evaluated, as a sentence.

    Args:
        name: The name of the period.
        period: All its interactions.
        known: Whether each user has an interaction before it, (U,).
        targets: Which items of a user's are held out.

    Raises:
        ValueError: Nobody can be evaluated.
    """
    users, items = period.users, period.items
    n_active, is_known = len(np.unique(users)), known[users]
    if not is_known.any():
        raise ValueError(
            f"--split time: none of the {n_active} users with an interaction in the {name} period "
            "has one before it; give other quantiles, as in --split time:0.8,0.9"
        )
    users, items = users[is_known], items[is_known]
    n_evaluated = len(np.unique(users))
    if targets != "all":
        is_edge = np.ones(len(users), bool)  # a user's last, or first
        place = slice(None, -1) if targets == "last" else slice(1, None)
        is_edge[place] = users[1:] != users[:-1]
        users, items = users[is_edge], items[is_edge]
    note = (
        f"{name}: {len(period.users):,} interactions of {n_active:,} users; {n_evaluated:,} of "
        f"them are evaluated, by {len(users):,} items, and the other {n_active - n_evaluated:,} "
        "have no interaction before the period"
    )
    return HeldOut(users, items), note
