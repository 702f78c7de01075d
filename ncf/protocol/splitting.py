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
        return np.bincount(self.items, minlength=self.n_items)


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

    @cached_property
    def train_and_validation(self) -> History:
        """What the winner is fitted on: all that is not of the time of test."""
        return append(self.train, self.validation_period or self.validation)

    @cached_property
    def whole(self) -> History:
        """Every interaction: what a user has seen, and what a sampled negative may not be."""
        return append(self.train_and_validation, self.test_period or self.test)


def history_of(
    users: NDArray[np.int32], items: NDArray[np.int32], n_users: int, n_items: int
) -> History:
    """Groups distinct pairs, users (E,) and items (E,), each user's oldest first.

    >>> history = history_of(np.int32([1, 0, 1]), np.int32([2, 1, 0]), n_users=2, n_items=3)
    >>> history.items, history.by_time
    (array([1, 0, 2], dtype=int32), array([1, 2, 0], dtype=int32))
    """
    by_time = items[np.argsort(users, kind="stable")]  # a few ascending runs: one pass, no sort
    keys = users.astype(np.int64)
    keys *= n_items
    keys += items
    keys.sort()  # one sort of integers is many times faster than a lexsort of two columns
    keys %= n_items
    indptr = np.zeros(n_users + 1, np.int64)
    np.cumsum(np.bincount(users, minlength=n_users), out=indptr[1:])
    return History(indptr, keys.astype(np.int32), n_items, by_time)


def append(history: History, held_out: HeldOut) -> History:
    """Returns the history with the held-out items as their users' latest."""
    items = history.items if history.by_time is None else history.by_time
    return history_of(
        np.concatenate([history.user_of, held_out.users]),
        np.concatenate([items, held_out.items]),
        history.n_users,
        history.n_items,
    )


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
    user_of = np.repeat(np.arange(interactions.n_users, dtype=np.int32), np.diff(indptr))
    train = history_of(user_of[trains], items[trains], interactions.n_users, interactions.n_items)
    users = evaluated.astype(np.int32)
    return Split(train, HeldOut(users, items[last - 1]), HeldOut(users, items[last]))
