"""The train matrix as the library `implicit` and the scorers take it, and how that is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from ncf.models.positives import items_by_time, recency_weights
from ncf.protocol.splitting import History


def train_matrix(history: History, recency: float) -> csr_matrix:
    """Returns r (U, I), of the older kind that `implicit` takes; binary where recency is 0.

    Raises:
        ValueError: As `items_by_time`, where recency is above 0.
    """
    items, values = history.items, np.ones(len(history.items), np.float32)
    if recency > 0:
        items, values = items_by_time(history), recency_weights(history, recency)
    shape = (history.n_users, history.n_items)
    return csr_matrix((values, items, history.indptr), shape=shape)


def rows_by_place(
    history: History, recency: float
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Returns the history as a scorer of items with items takes it.

    Returns:
        indptr (U + 1,), items (E,), and how much a user's a-th latest item counts, a^-recency,
        (L,) for a user of L items, who has the most.

    Raises:
        ValueError: As `items_by_time`, where recency is above 0.
    """
    items = history.items if recency == 0 and history.by_time is None else items_by_time(history)
    longest = int(np.diff(history.indptr).max(initial=1))
    place_values = np.arange(1, longest + 1, dtype=np.float64) ** -recency
    return history.indptr, items, place_values.astype(np.float32)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keeps BLAS to one thread: `implicit` has threads of its own, and warns of more."""
    import implicit  # noqa: F401 - it loads the BLAS that is to be limited

    with threadpool_limits(1, "blas"):
        yield
