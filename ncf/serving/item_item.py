"""The scorers of models that weigh items with items: EASE, SLIST, Markov counts, item-kNN.

score(u, i) = sum over places a of v_a W_ji, j the a-th latest item of user u, where W says what an
item of the history adds to another, and v how much an item counts that is the a-th latest. So they
answer alike for a user who is known and for one whose items are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WHOLE_BYTES = 128 << 20  # of weights that are written for use as they are: some 5,800 items
# Of more than that, the weights of each item that are the farthest from 0. On ml-1m (3,706 items)
# 1,000 change the validation nDCG@10 of Markov counts from .6044 to .6059, and that of EASE from
# .5859 to .5836; over the full catalogue they change nothing (.149 and .126).
KEPT = 1000


@dataclass(frozen=True)
class ItemItem:
    """Scores by sparse weights of items with items.

    Shapes: history_indptr (U + 1,); history_items (E,), each user's oldest first; place_values
    (L,), how much the a-th latest item counts, those beyond L not at all; and the weights (I, I) as
    compressed sparse rows, of which row j has what item j adds to others.
    """

    history_indptr: NDArray[np.integer[Any]]
    history_items: NDArray[np.integer[Any]]
    place_values: NDArray[np.float32]
    weight_indptr: NDArray[np.integer[Any]]
    weight_items: NDArray[np.integer[Any]]
    weight_values: NDArray[np.float32]

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.weight_indptr) - 1

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.history_indptr) - 1

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the scores (B, C) of users (B,) with items (B, C), by compiled code."""
        from .compiled import sparse_history_scores  # which a server does without

        return sparse_history_scores(
            self.history_indptr,
            self.history_items,
            self.place_values,
            self.weight_indptr,
            self.weight_items,
            self.weight_values,
            users,
            items,
        )

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item."""
        history, weights = self._matrices
        return np.asarray((history[users] @ weights).toarray())

    def score_given(self, user: int | None, items: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (I,) with every item of a user who took these items after their own.

        Args:
            user: The user; None for an unknown one, who has no items but those.
            items: The items in the order of time, latest last.
        """
        scores = np.zeros(self.n_items, np.float32)
        history = _continued(self.history_indptr, self.history_items, user, items)
        for value, item in zip(self.place_values, history[::-1], strict=False):
            own = slice(self.weight_indptr[item], self.weight_indptr[item + 1])
            scores[self.weight_items[own]] += value * self.weight_values[own]
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the fields."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @cached_property
    def _matrices(self) -> tuple[csr_array, csr_array]:
        from scipy.sparse import csr_array  # which a server of other models does without

        lengths = np.diff(self.history_indptr)
        place = np.repeat(self.history_indptr[1:].astype(np.int32), lengths)
        place -= np.arange(len(self.history_items), dtype=np.int32)
        counts = place <= len(self.place_values)  # the place of the latest is 1
        bounds = np.append(0, np.cumsum(np.minimum(lengths, len(self.place_values))))
        values = self.place_values[place[counts] - 1]
        history = csr_array(
            (values, self.history_items[counts], bounds), shape=(self.n_users, self.n_items)
        )
        weights = (self.weight_values, self.weight_items, self.weight_indptr)
        return history, csr_array(weights, shape=(self.n_items, self.n_items))


@dataclass(frozen=True)
class DenseItemItem:
    """Scores by weights of any two items.

    Shapes: history_indptr (U + 1,); history_items (E,), each user's oldest first; place_values
    (L,), how much the a-th latest item counts, those beyond L not at all; weights (I, I), of which
    row j has what item j adds to others.
    """

    history_indptr: NDArray[np.integer[Any]]
    history_items: NDArray[np.integer[Any]]
    place_values: NDArray[np.float32]
    weights: NDArray[np.float32]

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.weights)

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.history_indptr) - 1

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the scores (B, C) of users (B,) with items (B, C), by compiled code."""
        from .compiled import history_scores  # numba, which a server does without

        history = (self.history_indptr, self.history_items, self.place_values)
        return history_scores(*history, self.weights, users, items)

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item."""
        scores = np.empty((len(users), self.n_items), np.float32)
        for row, user in enumerate(users):
            own = slice(self.history_indptr[user], self.history_indptr[user + 1])
            scores[row] = self._sums(self.history_items[own])
        return scores

    def score_given(self, user: int | None, items: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (I,) with every item of a user who took these items after their own.

        Args:
            user: The user; None for an unknown one, who has no items but those.
            items: The items in the order of time, latest last.
        """
        return self._sums(_continued(self.history_indptr, self.history_items, user, items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the fields."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def _sums(self, history: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (I,) of a history, oldest first."""
        last = history[-len(self.place_values) :]
        return np.asarray(self.place_values[: len(last)][::-1] @ self.weights[last])


def truncated(
    scorer: ItemItem | DenseItemItem, whole_bytes: int = WHOLE_BYTES, n_kept: int = KEPT
) -> ItemItem | DenseItemItem:
    """Returns the scorer with the weights of each item that are the farthest from 0.

    Args:
        scorer: The scorer, which is returned as it is where it would not be smaller.
        whole_bytes: Bytes of weights that are all kept.
        n_kept: How many weights of each item are kept of more than that.
    """
    of_weights = scorer.weights if isinstance(scorer, DenseItemItem) else scorer.weight_values
    if of_weights.nbytes <= whole_bytes:
        return scorer
    n_items = scorer.n_items
    if isinstance(scorer, ItemItem):
        if np.diff(scorer.weight_indptr).max(initial=0) <= n_kept:
            return scorer
        bounds = scorer.weight_indptr
        rows = [slice(bounds[item], bounds[item + 1]) for item in range(n_items)]
        found = [(scorer.weight_items[row], scorer.weight_values[row]) for row in rows]
    else:
        if 2 * n_kept >= n_items:  # a sparse weight takes twice the bytes of a dense one
            return scorer
        every = np.arange(n_items, dtype=np.int32)
        found = [(every, row) for row in scorer.weights]
    kept = []
    for items, values in found:
        if len(values) > n_kept:
            chosen = np.sort(np.argpartition(-np.abs(values), n_kept)[:n_kept])
            items, values = items[chosen], values[chosen]
        kept.append((items, values))
    return ItemItem(
        scorer.history_indptr,
        scorer.history_items,
        scorer.place_values,
        np.cumsum([0, *(len(items) for items, _ in kept)]),
        np.concatenate([items for items, _ in kept]),
        np.concatenate([values for _, values in kept]),
    )


def _continued(
    indptr: NDArray[np.integer[Any]],
    history_items: NDArray[np.integer[Any]],
    user: int | None,
    items: NDArray[np.integer[Any]],
) -> NDArray[np.integer[Any]]:
    """Returns a user's items, oldest first, after which these were taken; none counts twice."""
    if user is None:
        return items
    own = history_items[indptr[user] : indptr[user + 1]]
    return np.concatenate([own[~np.isin(own, items)], items])
