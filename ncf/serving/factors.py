"""The scorer of GMF and of iALS: the inner product of a user's factors with an item's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recent:
    """Factors of users that are made of their last items.

    Shapes: factors (I, D2); weights (L,) of the last items, latest first; items (U, L), the last
    items of each user, latest first, -1 where there are fewer.
    """

    factors: NDArray[np.float32]
    weights: NDArray[np.float32]
    items: NDArray[np.int32]

    def sums(self, items: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the factors (B, D2) of users whose last items are given, (B, L)."""
        factors = np.zeros((len(items), self.factors.shape[1]), np.float32)
        for weight, column in zip(self.weights, items.T, strict=True):
            factors += np.where(column >= 0, weight, np.float32(0))[:, None] * self.factors[column]
        return factors


@dataclass(frozen=True)
class Factors:
    """Scores by the inner product of a user's factors with an item's, plus the item's bias.

    With a recent block the user's factors are their own and then those of their last items.

    Shapes: user_factors (U, D), item_factors (I, D + D2), item_bias (I,). `are_logits` says whether
    the scores are the logits of probabilities, as they are not of iALS.
    """

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    recent: Recent | None = None
    are_logits: bool = True

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.item_factors)

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.user_factors)

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """What tells items apart, (I, D + D2)."""
        return self.item_factors

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the scores (B, C) of users (B,) with items (B, C), by compiled code."""
        from .compiled import candidate_scores  # numba, which a server does without

        return candidate_scores(self._factors(users), self.item_factors, self.item_bias, items)

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item."""
        return self._product(self._factors(users))

    def score_given(self, user: int | None, items: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (I,) with every item of a user who took the given items.

        Args:
            user: The user, of whom the own factors are taken; None for an unknown one, who has
                none: the items alone served new users better than with the mean of all users'
                factors beside them (experiments/benchmarks/new_users.py).
            items: The user's items in the order of time, latest last.

        Raises:
            ValueError: The model has no recent block.
        """
        if self.recent is None:
            raise ValueError("the model has no recent block, which n_recent > 0 gives it")
        recents = np.full((1, len(self.recent.weights)), -1)
        latest_first = items[::-1][: recents.shape[1]]
        recents[0, : len(latest_first)] = latest_first
        own = np.zeros(self.user_factors.shape[1], self.user_factors.dtype)
        if user is not None:
            own = self.user_factors[user]
        factors = np.concatenate([own[None], self.recent.sums(recents)], axis=1)
        scores: NDArray[np.float32] = self._product(factors)[0]
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the fields, those of the recent block as `recent_...`.

        `are_logits` is there only where it is false, as older models do not have it.
        """
        arrays: dict[str, NDArray[Any]] = {
            "user_factors": self.user_factors,
            "item_factors": self.item_factors,
            "item_bias": self.item_bias,
        }
        if self.recent is not None:
            arrays["recent_factors"] = self.recent.factors
            arrays["recent_weights"] = self.recent.weights
            arrays["recent_items"] = self.recent.items
        if not self.are_logits:
            arrays["are_logits"] = np.zeros(1, np.bool_)
        return arrays

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Factors:
        """Returns the scorer of which these are the `arrays()`."""
        recent = None
        if "recent_items" in arrays:
            recent = Recent(**{f.name: arrays[f"recent_{f.name}"] for f in fields(Recent)})
        are_logits = "are_logits" not in arrays
        user_factors, item_factors = arrays["user_factors"], arrays["item_factors"]
        return cls(user_factors, item_factors, arrays["item_bias"], recent, are_logits)

    def _factors(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        own: NDArray[np.float32] = self.user_factors[users]
        if self.recent is None:
            return own
        recent = self.recent.sums(self.recent.items[users])
        return np.concatenate([own, recent], axis=1)

    def _product(self, factors: NDArray[np.float32]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = factors @ self.item_factors.T
        scores += self.item_bias
        return scores
