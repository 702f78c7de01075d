"""Generalized Matrix Factorization (He et al., "Neural Collaborative Filtering", WWW 2017, eq. 9).

The probability that user u interacts with item i is the sigmoid of

    logit(u, i) = sum_d w_d p_ud q_id + c_i + b

with user factors p, item factors q, output weights w and an output bias b. The item bias c_i,
zero at the start, is ours: it spares one dimension of p and q from carrying popularity (Rendle et
al., "Neural Collaborative Filtering vs. Matrix Factorization Revisited", RecSys 2020).
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ncf.models.gmf.scoring import candidate_scores


class GMF(nn.Module):
    """The model, and the scorer of it that evaluation and serving ask.

    Shapes: user_embedding (U, D), item_embedding (I, D), item_bias (I, 1), output (1, D) and (1,).
    """

    def __init__(self, n_users: int, n_items: int, embedding_dim: int) -> None:
        """Allocates the parameters; embeddings and biases are zero, output weights one.

        It is plain matrix factorization, for `ncf.models.training` to draw the embeddings of.
        """
        super().__init__()
        self.user_embedding = _embedding(n_users, embedding_dim)
        self.item_embedding = _embedding(n_items, embedding_dim)
        self.item_bias = _embedding(n_items, 1)
        # Not nn.utils.skip_init, which loads sympy: two thirds of a second for each worker.
        with torch.random.fork_rng(devices=[]):  # its own draws, of the global generator, are lost
            self.output = nn.Linear(embedding_dim, 1)
        nn.init.ones_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Returns the logits (B, C) of users (B,) with items (B, C)."""
        user_factors = self.user_embedding(users).unsqueeze(1)  # (B, 1, D), gathered once
        products = user_factors * self.item_embedding(items)  # (B, C, D)
        # A plain index: the gradient of an embedding lookup of width 1 takes half of a step.
        bias = self.item_bias.weight.squeeze(1)[items]  # (B, C)
        logits: Tensor = self.output(products).squeeze(2) + bias
        return logits

    @torch.inference_mode()
    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the logits (B, C) of users (B,) with items (B, C)."""
        device = self.output.weight.device
        if device.type == "cpu":
            return candidate_scores(*self._arrays(users), items)
        logits = self(torch.tensor(users).long().to(device), torch.tensor(items).long().to(device))
        return np.asarray(logits.cpu().numpy())

    @torch.inference_mode()
    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the logits (B, I) of users (B,) with every item."""
        device = self.output.weight.device
        if device.type == "cpu":
            user_factors, item_factors, item_bias = self._arrays(users)
            scores: NDArray[np.float32] = user_factors @ item_factors.T
            scores += item_bias
            return scores
        rows = self.user_embedding.weight[torch.tensor(users, device=device).long()]
        bias = torch.add(self.item_bias.weight.squeeze(1), self.output.bias)
        logits = torch.addmm(
            bias, torch.mul(rows, self.output.weight), self.item_embedding.weight.T
        )
        return np.asarray(logits.cpu().numpy())

    def _arrays(
        self, users: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Returns user factors (B, D), output weights included, item factors (I, D), biases (I,).

        All by numpy, whose product is several times faster than torch's: threads of torch that
        have just done something spin, and take the processors from numpy's.
        """
        user_factors = self.user_embedding.weight.numpy()[users] * self.output.weight.numpy()
        item_bias = self.item_bias.weight.numpy()[:, 0] + self.output.bias.numpy()
        return user_factors, self.item_embedding.weight.numpy(), item_bias


def _embedding(n_rows: int, n_columns: int) -> nn.Embedding:
    # Zeros, to be filled: the default draws normals, which nobody needs, from the global generator.
    rows = torch.zeros(n_rows, n_columns)
    return cast(nn.Embedding, nn.Embedding.from_pretrained(rows, freeze=False))
