"""How much of a result by leave-one-out rests on the order in time, told before any training.

A user's latest item is often one of a session of ratings, whose items follow each other within
seconds. To continue such a session is easier than to say what a person wants another day, so that
a share of held-out items close to the item before raises every figure of models that know the
order. And a model is trained on interactions of other users that are later than the item which it
is asked for: the leak of leave-one-out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ncf.data.interactions import Interactions
from ncf.protocol.gaps import gaps, places_of
from ncf.protocol.splitting import History, Split

SESSION = 60  # seconds
N_FOLLOWING = 10
_MOST_INTERACTIONS = 2_000_000  # whose order is counted; more tell the same
_MOST_USERS = 5_000  # who are asked for their next item
_MOST_TIMES = 1_000_000  # of train


@dataclass(frozen=True)
class Sequence:
    """What the order in time decides and tells.

    Attributes:
        in_session: Share of the validation items that came within `SESSION` seconds of the latest
            item of their user in train.
        tied_test: Share of the evaluated users whose test item has the time of another item of
            theirs, so that the order of the file's rows decides.
        tied_validation: Share of the validated users whose validation item has the time of another
            item of theirs that is not the test item.
        followed: Share of the validated users whose validation item is among the `N_FOLLOWING` new
            items that most often come directly after their item before, in train.
        followed_shuffled: The same where the order of each user's train items is shuffled.
        later: Share of train that is later than a user's test item, mean over users.
    """

    in_session: float
    tied_test: float
    tied_validation: float
    followed: float
    followed_shuffled: float
    later: float


def measure(interactions: Interactions, split: Split, seed: int = 0) -> Sequence:
    """Returns what the order in time decides and tells; seconds at most, whatever the size."""
    rng = np.random.default_rng(seed)
    times = interactions.timestamps
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))
    is_test, is_validation = (np.zeros(len(times), bool) for _ in range(2))
    is_test[places_of(interactions, split.test_period or split.test)] = True
    is_validation[places_of(interactions, split.validation_period or split.validation)] = True
    tested = places_of(interactions, split.test)
    # what a user has when the validation item is chosen, and where it is then
    validated = places_of(interactions, split.validation)
    validated -= np.cumsum(is_test)[validated]
    gap = gaps(interactions, split.train, split.validation)
    shuffled = _shuffled(split.train, rng)
    chosen = _some_users(split, rng)
    return Sequence(
        in_session=_mean((gap >= 0) & (gap <= SESSION)),
        tied_test=_mean(_has_equal(users, times, tested)),
        tied_validation=_mean(_has_equal(users[~is_test], times[~is_test], validated)),
        followed=_followed(split.train, split, chosen),
        followed_shuffled=_followed(shuffled, split, chosen),
        later=_later(times[~is_test & ~is_validation], times[is_test], rng),
    )


def _has_equal(
    users: NDArray[np.int64], times: NDArray[np.int64], places: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Returns whether interactions at `places` have the time of a neighbour of the same user."""
    found = np.zeros(len(places), bool)
    for step in (-1, 1):
        other = np.clip(places + step, 0, len(times) - 1)
        found |= (
            (other != places) & (users[other] == users[places]) & (times[other] == times[places])
        )
    return found


def _shuffled(history: History, rng: np.random.Generator) -> History:
    """Returns the history with each user's items in a random order."""
    order = np.lexsort((rng.random(len(history.items)), history.user_of))
    return History(history.indptr, history.items, history.n_items, history.items[order])


def _some_users(split: Split, rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns users, at most of so many interactions as are counted, in a random order."""
    users = rng.permutation(split.train.n_users)
    sizes = np.diff(split.train.indptr)[users]
    return users[: 1 + np.searchsorted(np.cumsum(sizes), _MOST_INTERACTIONS)]


def _followed(history: History, split: Split, chosen: NDArray[np.int64]) -> float:
    """Returns how often the next item is among those that most often follow the last one."""
    by_time = history.items if history.by_time is None else history.by_time
    is_chosen = np.zeros(history.n_users, bool)
    is_chosen[chosen] = True
    follows = is_chosen[history.user_of[1:]] & (history.user_of[1:] == history.user_of[:-1])
    pairs = by_time[:-1][follows].astype(np.int64) * history.n_items + by_time[1:][follows]
    pairs, counts = np.unique(pairs, return_counts=True)
    starts = np.searchsorted(
        pairs, np.arange(history.n_items + 1, dtype=np.int64) * history.n_items
    )
    validated = np.isin(split.validation.users, chosen)
    asked = np.flatnonzero(validated)[:_MOST_USERS]
    n_hits = 0
    for user, target in zip(
        split.validation.users[asked], split.validation.items[asked], strict=True
    ):
        start, stop = history.indptr[user : user + 2]
        if start == stop:
            continue
        row = slice(*starts[by_time[stop - 1] : by_time[stop - 1] + 2])
        following = pairs[row] % history.n_items
        is_target = following == target
        if is_target.any():
            is_new = ~np.isin(following, history.items[start:stop])
            n_as_often = np.count_nonzero(counts[row][is_new] >= counts[row][is_target][0])
            n_hits += int(n_as_often <= N_FOLLOWING)
    return float(n_hits / max(1, len(asked)))


def _later(train: NDArray[np.int64], test: NDArray[np.int64], rng: np.random.Generator) -> float:
    """Returns the share of train times that are later than a test time, mean over test times."""
    if len(train) > _MOST_TIMES:
        train = rng.choice(train, _MOST_TIMES)
    n_earlier = np.searchsorted(np.sort(train), test, side="right")
    return 1 - float(n_earlier.mean()) / len(train)


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else 0.0
