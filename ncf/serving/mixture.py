"""The scorer of two models together, whose scores are brought to one scale for each user.

score(u, i) = (1 - weight) z_ui + weight z'_ui, where z and z' are the scores of the two models less
their mean over all items, in units of their standard deviation over all items, of the same user.
Both are taken over the whole catalogue, whatever is asked for, so that an item has the same score
among a few candidates as among all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .blocks import among_all

if TYPE_CHECKING:
    from .scorers import Scorer

FIRST, SECOND, WEIGHT = "first.", "second.", "weight"  # names of its arrays begin with these


@dataclass(frozen=True)
class Mixture:
    """Scores by two models of the same users and items; `weight` is that of the second."""

    first: Scorer
    second: Scorer
    weight: float

    @property
    def n_items(self) -> int:
        """I."""
        return self.first.n_items

    @property
    def n_users(self) -> int | None:
        """U."""
        return self.first.n_users

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the scores (B, C) of users (B,) with items (B, C), some users at a time."""
        return among_all(self.score_all, self.n_items, users, items)

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item."""
        return self._mixed(self.first.score_all(users), self.second.score_all(users))

    def score_given(self, user: int | None, items: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (I,) with every item of a user who took the given items.

        Args:
            user: The user; None for an unknown one.
            items: The user's items in the order of time, latest last.
        """
        first, second = (
            one.score_given(user, items)[None]  # type: ignore[attr-defined] # see `reads_items`
            for one in (self.first, self.second)
        )
        return np.asarray(self._mixed(first, second)[0])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays of both, and the weight."""
        return {
            WEIGHT: np.array([self.weight], np.float32),
            **{f"{FIRST}{name}": array for name, array in self.first.arrays().items()},
            **{f"{SECOND}{name}": array for name, array in self.second.arrays().items()},
        }

    def _mixed(
        self, first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]
    ) -> NDArray[np.float32]:
        weight = np.float32(self.weight)
        mixed = _standardized(first)
        mixed *= 1 - weight
        other = _standardized(second)
        other *= weight
        mixed += other
        return mixed


def parts_of(arrays: Mapping[str, NDArray[Any]], part: str) -> dict[str, NDArray[Any]]:
    """Returns the arrays of one of the two models by their own names."""
    return {
        name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)
    }


def _standardized(scores: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Returns scores (B, I) by the mean and deviation of each row; 0 where all are equal."""
    standard = np.asarray(scores, np.float32) - scores.mean(axis=1, keepdims=True, dtype=np.float64)
    deviations = scores.std(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(standard / np.where(deviations > 0, deviations, 1), np.float32)
