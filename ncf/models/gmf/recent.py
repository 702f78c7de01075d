"""The recent block: a user's last items before a target, in the order of time.

With j_a the user's a-th latest item before the target, and L = n_recent, g = recent_decay,

    w_a = a^-g / |(1^-g, ..., L^-g)|_2        a = 1 ... min(L, items before)
    x_u = sum_a w_a X[j_a]

x_u stands beside the user's own factors p_u, as m_i does beside the item's q_i (`kernel.py`). The
form is that of FPMC (Rendle et al., WWW 2010), FISM (Kabbur et al., KDD 2013) and Fossil (He &
McAuley, ICDM 2016), with spaces of their own for p and x. In training, "before" is before the
visited position; a scorer takes the latest of the history that it was fitted on.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.positives import items_by_time
from ncf.models.prefetch import prefetch
from ncf.protocol.random import read_only
from ncf.protocol.splitting import History

AHEAD = 8  # visits between the request for a user's items and their use


def recent_weights(setting: Hyperparameters) -> NDArray[np.float32]:
    """Returns w, (L,), latest first; its length is 1."""
    weights = np.arange(1, setting.n_recent + 1, dtype=np.float64) ** -setting.recent_decay
    return np.asarray(weights / max(float(np.linalg.norm(weights)), 1e-30), np.float32)


def items_before(
    history: History, users: NDArray[np.int32], positions: NDArray[np.int32], n_recent: int
) -> NDArray[np.int32]:
    """Returns the items just before positions of users' histories, (B, L), latest first.

    Args:
        history: The training interactions.
        users: (B,).
        positions: (B,) places in the user's items by time, 0 for the oldest; the item at the place
            is not among those before it.
        n_recent: L.

    Returns:
        (B, L) items, -1 where there are fewer before.

    Raises:
        ValueError: The history does not know the order of its items.
    """
    recents = np.full((len(users), n_recent), -1, np.int32)
    _fill_before(
        read_only(history.indptr),
        read_only(items_by_time(history)),
        read_only(users),
        read_only(positions),
        recents,
    )
    return recents


def latest_items(history: History, n_recent: int) -> NDArray[np.int32]:
    """Returns each user's last items, (U, L), latest first; -1 where there are fewer."""
    lengths = np.diff(history.indptr).astype(np.int32)
    return items_before(history, np.arange(history.n_users, dtype=np.int32), lengths, n_recent)


def items_at(
    history: History, users: NDArray[np.int32], positions: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Returns the items at positions of users' histories by time, (B,)."""
    return np.asarray(items_by_time(history)[history.indptr[users] + positions])


@njit(cache=True)
def _fill_before(
    indptr: NDArray[np.int64],
    by_time: NDArray[np.int32],
    users: NDArray[np.int32],
    positions: NDArray[np.int32],
    recents: NDArray[np.int32],
) -> None:
    for b in range(len(users)):
        if b + 2 * AHEAD < len(users):
            prefetch(indptr, np.int64(users[b + 2 * AHEAD]))
        if b + AHEAD < len(users):
            visited = indptr[users[b + AHEAD]] + np.int64(positions[b + AHEAD])
            prefetch(by_time, visited)
            prefetch(by_time, visited - recents.shape[1])
        start, position = indptr[users[b]], np.int64(positions[b])
        for a in range(min(position, recents.shape[1])):
            recents[b, a] = by_time[start + position - 1 - a]
