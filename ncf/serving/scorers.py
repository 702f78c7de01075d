"""Fitted models as plain arrays: what scores users with items, in training's evaluation and served.

Each scorer's `arrays()` are what is written to a file, and `load_scorer` makes the scorer of them
again. Numpy is all that loading, `score_all` and the top of a list need; what else a method uses,
it imports itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .factors import Factors
from .item_item import DenseItemItem, ItemItem, truncated
from .mixture import FIRST, SECOND, WEIGHT, Mixture, parts_of
from .towers import Towers


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
        return {"popularity": self.popularity}


ReadsItems: TypeAlias = Factors | ItemItem | DenseItemItem | Mixture  # if `reads_items` says so
_OtherKind: TypeAlias = Popularity | ItemItem | DenseItemItem
_OTHER_KINDS: tuple[type[_OtherKind], ...] = (Popularity, ItemItem, DenseItemItem)
_FACTORS = {"user_factors", "item_factors", "item_bias"}


def reads_items(scorer: Scorer) -> TypeGuard[ReadsItems]:
    """Returns whether a scorer answers a user whose items are given, by `score_given`."""
    if isinstance(scorer, Mixture):
        return reads_items(scorer.first) and reads_items(scorer.second)
    if isinstance(scorer, Factors):
        return scorer.recent is not None
    return isinstance(scorer, ItemItem | DenseItemItem)


def likeness(scorer: Scorer, item: int) -> NDArray[np.float32]:
    """Returns how much each item is like one item, (I,): cosines of factors, or weights.

    Raises:
        ValueError: The scorer tells no items apart for everyone alike.
    """
    if isinstance(scorer, Mixture):
        return likeness(scorer.first, item)
    if isinstance(scorer, ItemItem | DenseItemItem):
        return scorer.score_given(None, np.array([item]))
    if not isinstance(scorer, Factors | Towers):
        raise ValueError("this model compares no items; name another with --model")
    factors = scorer.item_vectors
    lengths = np.linalg.norm(factors, axis=1)
    cosines = factors @ factors[item]
    cosines /= np.maximum(lengths * lengths[item], np.finfo(np.float32).tiny)
    return np.asarray(cosines)


def shown(scorer: Scorer, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Returns what is shown of a known user's scores: probabilities where they are logits."""
    values = scores.astype(np.float64)
    are_logits = isinstance(scorer, Factors | Towers) and scorer.are_logits
    return np.exp(-np.logaddexp(0, -values)) if are_logits else values  # without overflow


def for_use(scorer: Scorer) -> Scorer:
    """Returns a fitted scorer as it is written for use: of item-item weights the largest alone."""
    if isinstance(scorer, Mixture):
        return Mixture(for_use(scorer.first), for_use(scorer.second), scorer.weight)
    return truncated(scorer) if isinstance(scorer, ItemItem | DenseItemItem) else scorer


def load_scorer(arrays: Mapping[str, NDArray[Any]]) -> Scorer:
    """Returns the scorer whose `arrays()` these are: the names tell its kind.

    Raises:
        ValueError: They are of no kind of scorer.
    """
    if "user_embedding.weight" in arrays:
        return _of_state(arrays)
    if "user_hidden" in arrays:
        return Towers.load(arrays)
    if WEIGHT in arrays:
        first, second = (load_scorer(parts_of(arrays, part)) for part in (FIRST, SECOND))
        return Mixture(first, second, float(arrays[WEIGHT][0]))
    if set(arrays) >= _FACTORS:
        return Factors.load(arrays)
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
