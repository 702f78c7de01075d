"""The train matrix as the library `implicit` takes it, and how that is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
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


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keeps BLAS to one thread: `implicit` has threads of its own, and warns of more."""
    import implicit  # noqa: F401 - it loads the BLAS that is to be limited

    with threadpool_limits(1, "blas"):
        yield
