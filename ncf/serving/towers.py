"""The scorer of MLP and NeuMF: a tower of layers over users and items, in numpy alone.

The first layer is kept as its products with every user and every item, of which a pair's is the
sum. Pairs are scored some users at a time, so that memory stays bounded for any catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 4 << 20  # of the widest layer's values for some users with all their items


@dataclass(frozen=True)
class Towers:
    """Scores by a GMF part, which may be 0 wide, and a tower, whose first layer is M wide.

    Shapes: user_factors (U, D), output weights included, item_factors (I, D); user_hidden (U, M),
    the first layer's bias included, item_hidden (I, M); the weights (W, W before) and biases (W,)
    of the further layers; output_weight, of the last layer, and output_bias (1,).
    """

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    user_hidden: NDArray[np.float32]
    item_hidden: NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    output_weight: NDArray[np.float32]
    output_bias: NDArray[np.float32]
    are_logits = True  # the scores, of probabilities

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.item_hidden)

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.user_hidden)

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """What tells items apart, (I, D + M)."""
        return np.concatenate([self.item_factors, self.item_hidden], axis=1)

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the scores (B, C) of users (B,) with items (B, C)."""
        scores = np.empty(items.shape, np.float32)
        for rows in self._blocks(len(users), items.shape[1]):
            factors = self.user_factors[users[rows]][:, :, None]
            scores[rows] = (self.item_factors[items[rows]] @ factors)[:, :, 0]
            scores[rows] += self._tower(users[rows], self.item_hidden[items[rows]])
        return scores

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item."""
        scores = np.empty((len(users), self.n_items), np.float32)
        for rows in self._blocks(len(users), self.n_items):
            scores[rows] = self.user_factors[users[rows]] @ self.item_factors.T
            scores[rows] += self._tower(users[rows], self.item_hidden[None])
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the fields; those of further layer k as `layer_k_weight`, `layer_k_bias`."""
        arrays: dict[str, NDArray[Any]] = {
            "user_factors": self.user_factors,
            "item_factors": self.item_factors,
            "user_hidden": self.user_hidden,
            "item_hidden": self.item_hidden,
            "output_weight": self.output_weight,
            "output_bias": self.output_bias,
        }
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays |= {f"layer_{k}_weight": weight, f"layer_{k}_bias": bias}
        return arrays

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Towers:
        """Returns the scorer whose `arrays()` these are."""
        n_layers = sum(name.endswith("_weight") for name in arrays) - 1  # less the output's
        return cls(
            arrays["user_factors"],
            arrays["item_factors"],
            arrays["user_hidden"],
            arrays["item_hidden"],
            tuple(arrays[f"layer_{k}_weight"] for k in range(n_layers)),
            tuple(arrays[f"layer_{k}_bias"] for k in range(n_layers)),
            arrays["output_weight"],
            arrays["output_bias"],
        )

    def _tower(
        self, users: NDArray[np.integer[Any]], item_hidden: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Returns the tower's part (B, C) of scores with item_hidden, (B, C, M) or (1, C, M)."""
        hidden = self.user_hidden[users][:, None] + item_hidden
        shape = hidden.shape[:2]
        hidden = hidden.reshape(-1, hidden.shape[2])
        np.maximum(hidden, 0, out=hidden)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            hidden = hidden @ weight.T
            hidden += bias
            np.maximum(hidden, 0, out=hidden)
        return np.asarray((hidden @ self.output_weight).reshape(shape) + self.output_bias)

    def _blocks(self, n_users: int, n_items: int) -> list[slice]:
        size = max(1, BLOCK_BYTES // (4 * n_items * self.user_hidden.shape[1]))
        return [slice(start, start + size) for start in range(0, n_users, size)]
