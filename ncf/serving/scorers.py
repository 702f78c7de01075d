"""Fitted models as plain arrays: what scores users with items, in training's evaluation and served.

Each scorer's `arrays()` are what is written to a file, and `load_scorer` makes the scorer of them
again. Numpy is all that loading, `score_all` and the top of a list need; what else a method uses,
it imports itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ncf.serving.factors import Factors, Recent
from ncf.serving.towers import Towers

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BLOCK_BYTES = 32 << 20  # of scores with every item, where only some are asked for


class Scorer(Protocol):
    """What every fitted model is, whichever model it is; higher scores are better."""

    @property
    def n_items(self) -> int:
        """I."""
        ...

    @property
    def n_users(self) -> int | None:
        """U; None where the model does not tell users apart."""
        ...

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.floating[Any]]:
        """Returns the scores (B, C) of users (B,) with items (B, C)."""
        ...

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.floating[Any]]:
        """Returns the scores (B, I) of users (B,) with every item."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays that `load_scorer` makes the scorer of again, by name."""
        ...


@dataclass(frozen=True)
class Popularity:
    """Scores an item by its number of users; equally popular items tie.

    Shapes: popularity (I,).
    """

    popularity: NDArray[np.float64]

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.popularity)

    @property
    def n_users(self) -> None:
        """Every user is answered alike."""
        return

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float64]:
        """Returns the scores (B, C) of users (B,) with items (B, C)."""
        return np.asarray(self.popularity[items])

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Returns the scores (B, I) of users (B,) with every item, read-only."""
        return np.broadcast_to(self.popularity, (len(users), len(self.popularity)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the fields."""
        return _fields_of(self)


@dataclass(frozen=True)
class ItemItem:
    """Scores an item by its similarity to the items of the user's history.

    Both matrices are compressed sparse rows: the history (U, I), of which a value says how much the
    item counts for the user, and the similarity (I, I), of which column i has the items that item i
    is scored by. Shapes: history_indptr (U + 1,), the other arrays of it (E,);
    similarity_indptr (I + 1,).
    """

    history_indptr: NDArray[np.integer[Any]]
    history_items: NDArray[np.integer[Any]]
    history_values: NDArray[np.float32]
    similarity_indptr: NDArray[np.integer[Any]]
    similarity_items: NDArray[np.integer[Any]]
    similarity_values: NDArray[np.float32]

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.similarity_indptr) - 1

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.history_indptr) - 1

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the scores (B, C) of users (B,) with items (B, C), some users at a time."""
        scores = np.empty(items.shape, np.float32)
        block = max(1, BLOCK_BYTES // (4 * self.n_items))
        for start in range(0, len(users), block):
            rows = slice(start, start + block)
            scores[rows] = np.take_along_axis(self.score_all(users[rows]), items[rows], axis=1)
        return scores

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item."""
        history, similarity = self._matrices
        return np.asarray((history[users] @ similarity).toarray())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the fields."""
        return _fields_of(self)

    @cached_property
    def _matrices(self) -> tuple[csr_array, csr_array]:
        from scipy.sparse import csr_array  # which a server of other models does without

        history = (self.history_values, self.history_items, self.history_indptr)
        similarity = (self.similarity_values, self.similarity_items, self.similarity_indptr)
        return (
            csr_array(history, shape=(self.n_users, self.n_items)),
            csr_array(similarity, shape=(self.n_items, self.n_items)),
        )


@dataclass(frozen=True)
class DenseItemItem:
    """Scores an item by a weighted sum over the items of the user's history, of any two items.

    The history (U, I) is in compressed sparse rows, of which a value says how much the item counts
    for the user. Shapes: history_indptr (U + 1,), the other arrays of it (E,); weights (I, I), of
    which column i has what each item adds to item i.
    """

    history_indptr: NDArray[np.integer[Any]]
    history_items: NDArray[np.integer[Any]]
    history_values: NDArray[np.float32]
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
        from ncf.serving.compiled import history_scores  # numba, which a server does without

        history = (self.history_indptr, self.history_items, self.history_values)
        return history_scores(*history, self.weights, users, items)

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item."""
        scores = np.empty((len(users), self.n_items), np.float32)
        for row, user in enumerate(users):
            own = slice(self.history_indptr[user], self.history_indptr[user + 1])
            scores[row] = self.history_values[own] @ self.weights[self.history_items[own]]
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the fields."""
        return _fields_of(self)


_OtherKind: TypeAlias = Popularity | ItemItem | DenseItemItem
_OTHER_KINDS: tuple[type[_OtherKind], ...] = (Popularity, ItemItem, DenseItemItem)


def load_scorer(arrays: Mapping[str, NDArray[Any]]) -> Scorer:
    """Returns the scorer whose `arrays()` these are: the names tell its kind.

    Raises:
        ValueError: They are of no kind of scorer.
    """
    if "user_embedding.weight" in arrays:
        return _of_state(arrays)
    if "user_hidden" in arrays:
        return Towers.load(arrays)
    block = {field.name: f"recent_{field.name}" for field in fields(Recent)}
    own = {name: array for name, array in arrays.items() if name not in block.values()}
    if set(own) == {"user_factors", "item_factors", "item_bias"}:
        recent = None
        if len(own) < len(arrays):
            recent = Recent(**{field: arrays[name] for field, name in block.items()})
        return Factors(arrays["user_factors"], arrays["item_factors"], arrays["item_bias"], recent)
    for kind in _OTHER_KINDS:
        if {field.name for field in fields(kind)} == set(arrays):
            return kind(**arrays)
    raise ValueError(f"arrays of no known kind of model: {', '.join(sorted(arrays))}")


def _of_state(state: Mapping[str, NDArray[Any]]) -> Factors:
    """Returns the scorer of a GMF as it was written before: by the names of PyTorch's state."""
    return Factors(
        state["user_embedding.weight"] * state["output.weight"],
        state["item_embedding.weight"],
        state["item_bias.weight"][:, 0] + state["output.bias"],
    )


def _fields_of(scorer: _OtherKind) -> dict[str, NDArray[Any]]:
    return {field.name: getattr(scorer, field.name) for field in fields(scorer)}
