"""What a split consists of, and leave-one-out by time, the split of the NCF paper.

In leave-one-out a user's latest interaction is the test item, the one before is the validation
item, the rest is train. Equal timestamps keep the file's row order (`Interactions` is sorted so).
Users with fewer than three interactions only train. Nothing is chosen on test: train and validation
are all that a trial is ever handed, in any split.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ncf.protocol.rows import ascending, bounds_of, counts_of, grouped, joined

if TYPE_CHECKING:  # it loads pandas, which workers do without
    from ncf.data.interactions import Interactions

MIN_INTERACTIONS = 3  # one each for train, validation and test


@dataclass(frozen=True)
class History:
    """Each user's items as a compressed sparse row matrix.

    Shapes: indptr (U + 1,), items (E,), by_time (E,). User u's items are
    `items[indptr[u]:indptr[u + 1]]`, ascending and distinct, so that membership is a binary search.
    The same slice of `by_time` has them oldest first; it is None where the order is not known.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    n_items: int
    by_time: NDArray[np.int32] | None = None

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.indptr) - 1

    @cached_property
    def user_of(self) -> NDArray[np.int32]:
        """The user of each interaction, (E,)."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), np.diff(self.indptr))

    @property
    def popularity(self) -> NDArray[np.int64]:
        """The number of users of each item, (I,)."""
        return counts_of(self.items, self.n_items)


@dataclass(frozen=True)
class HeldOut:
    """Held-out items and their users: one for each user, or several that follow each other.

    Shapes: users (V,) ascending, items (V,), those of a user oldest first.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]


@dataclass(frozen=True)
class Split:
    """Train, validation and test of one data set.

    Attributes:
        train: What trials learn from.
        validation: The items that trials are judged by.
        test: The items that the winner and the baselines are judged by, in the end.
        validation_period: All interactions between train and test, where `validation` is only some
            of them; None where they are `validation`.
        test_period: All interactions after these, where `test` is only some of them; else None.
        notes: Who is not evaluated and why, as sentences.
    """

    train: History
    validation: HeldOut
    test: HeldOut
    validation_period: HeldOut | None = None
    test_period: HeldOut | None = None
    notes: tuple[str, ...] = ()

    # The unions are as long as the data, so that whoever needs one keeps it only meanwhile.

    @property
    def train_and_validation(self) -> History:
        """What the winner is fitted on: all that is not of the time of test; made when asked."""
        return append(self.train, self.validation_period or self.validation)

    @property
    def whole(self) -> History:
        """Every interaction, which is what a user has seen; made when asked."""
        return _joined(self.train, self.held_out)

    @cached_property
    def held_out(self) -> History:
        """What train lacks: all that is of the time of validation and of test."""
        parts = (self.validation_period or self.validation, self.test_period or self.test)
        users, items = (
            np.concatenate([getattr(one, name) for one in parts]) for name in ("users", "items")
        )
        return history_of(users, items, self.train.n_users, self.train.n_items)


def history_of(
    users: NDArray[np.int32], items: NDArray[np.int32], n_users: int, n_items: int
) -> History:
    """Groups distinct pairs, users (E,) and items (E,), each user's oldest first.

    >>> history = history_of(np.int32([1, 0, 1]), np.int32([2, 1, 0]), n_users=2, n_items=3)
    >>> history.items, history.by_time
    (array([1, 0, 2], dtype=int32), array([1, 2, 0], dtype=int32))
    """
    indptr = bounds_of(users, n_users)
    by_time = grouped(users, items, indptr)
    return History(indptr, ascending(indptr, by_time), n_items, by_time)


def append(history: History, held_out: HeldOut) -> History:
    """Returns the history with the held-out items as their users' latest."""
    bounds = bounds_of(held_out.users, history.n_users)
    return _joined(history, History(bounds, held_out.items, history.n_items))


def _joined(history: History, later: History) -> History:
    """Returns the history with the later one after it, whose items need not ascend."""
    first, second = (one.items if one.by_time is None else one.by_time for one in (history, later))
    indptr = history.indptr + later.indptr
    by_time = joined(history.indptr, first, later.indptr, second)
    return History(indptr, ascending(indptr, by_time), history.n_items, by_time)


def leave_one_out(interactions: Interactions) -> Split:
    """Splits the interactions as the module says.

    Raises:
        ValueError: No user has three interactions.

    >>> from ncf.data.interactions import from_columns
    >>> split = leave_one_out(from_columns(
    ...     "toy", np.array([7, 7, 7, 8]), np.array([30, 10, 20, 10]), np.array([1, 3, 2, 5])))
    >>> split.train.items, split.validation.items, split.test.items  # items 10, 20, 30 are 0, 1, 2
    (array([2, 0], dtype=int32), array([1], dtype=int32), array([0], dtype=int32))
    """
    indptr, items = interactions.indptr, interactions.items
    evaluated = np.flatnonzero(np.diff(indptr) >= MIN_INTERACTIONS)
    if len(evaluated) == 0:
        raise ValueError(
            f"{interactions.name}: leave-one-out needs a user with at least {MIN_INTERACTIONS} "
            f"distinct items, and none of the {interactions.n_users} users has them: give more data"
        )
    last = indptr[evaluated + 1] - 1
    trains = np.ones(len(items), bool)
    trains[last] = trains[last - 1] = False
    by_time = items[trains]
    del trains  # it is as long as the data, which may be large
    lengths = np.diff(indptr)
    lengths[evaluated] -= 2
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    train = History(bounds, ascending(bounds, by_time), interactions.n_items, by_time)
    users = evaluated.astype(np.int32)
    return Split(train, HeldOut(users, items[last - 1]), HeldOut(users, items[last]))
