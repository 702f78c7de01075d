"""The time between a held-out item and what a model knows of its user."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ncf.data.interactions import Interactions
from ncf.protocol.rows import places_in
from ncf.protocol.splitting import HeldOut, History


def places_of(interactions: Interactions, pairs: HeldOut) -> NDArray[np.int64]:
    """Returns where each pair (V,) stands among the interactions, (V,); each must be one of them.

    >>> from ncf.data.interactions import from_columns
    >>> data = from_columns("toy", np.array([7, 7, 8]), np.array([30, 10, 10]), np.array([1, 0, 5]))
    >>> places_of(data, HeldOut(np.int32([0, 1]), np.int32([1, 0])))  # items 10 and 30 are 0 and 1
    array([1, 2])
    """
    return places_in(interactions.indptr, interactions.items, pairs.users, pairs.items)


def gaps(interactions: Interactions, known: History, held_out: HeldOut) -> NDArray[np.int64]:
    """Returns the seconds between each held-out item and its user's latest known one, (V,).

    They are -1 where nothing is known of the user.

    Args:
        interactions: All interactions, with their times.
        known: What a model knows of the users, with its order in time.
        held_out: The held-out items.
    """
    by_time = known.items if known.by_time is None else known.by_time
    starts, ends = known.indptr[held_out.users], known.indptr[held_out.users + 1]
    has_known = ends > starts
    latest = by_time[np.where(has_known, ends - 1, 0)]
    before = HeldOut(held_out.users[has_known], latest[has_known])
    times = interactions.timestamps
    found = np.full(len(held_out.users), -1, np.int64)
    found[has_known] = (
        times[places_of(interactions, held_out)][has_known] - times[places_of(interactions, before)]
    )
    return found
