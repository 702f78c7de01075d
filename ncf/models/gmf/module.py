"""GMF as a PyTorch module, for training by minibatches on any device.

Generalized Matrix Factorization (He et al., "Neural Collaborative Filtering", WWW 2017, eq. 9): the
probability that user u interacts with item i is the sigmoid of

    logit(u, i) = sum_d w_d p_ud q_id + c_i + b

with user factors p, item factors q, output weights w and an output bias b. The item bias c_i,
zero at the start, is ours: it spares one dimension of p and q from carrying popularity (Rendle et
al., "Neural Collaborative Filtering vs. Matrix Factorization Revisited", RecSys 2020). A recent
block (`recent.py`) adds columns: p is then [p_u ; x_u] and q is [q_i ; m_i].
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from ncf.models.gmf.kernel import Parameters


class GMF(nn.Module):
    """The parameters, and the logits of them.

    Shapes: as in `Parameters`, but that output_weight is (1, D + D2).
    """

    def __init__(self, parameters: Parameters, recent_weights: NDArray[np.float32]) -> None:
        """Takes the arrays as they are: on the CPU, training changes them in place.

        Args:
            parameters: What is trained.
            recent_weights: (L,) weights of a user's last items, latest first.
        """
        super().__init__()
        users, items, item_bias, output_weight, output_bias, recent = map(
            torch.from_numpy, parameters
        )
        self.user_embedding = nn.Parameter(users)
        self.item_embedding = nn.Parameter(items)
        self.item_bias = nn.Parameter(item_bias)
        self.output_weight = nn.Parameter(output_weight[None])
        self.output_bias = nn.Parameter(output_bias)
        self.recent_embedding = nn.Parameter(recent)
        self.recent_weights: Tensor
        self.register_buffer("recent_weights", torch.tensor(recent_weights))

    def forward(self, users: Tensor, items: Tensor, recents: Tensor | None = None) -> Tensor:
        """Returns the logits (B, C) of users (B,) with items (B, C).

        Args:
            users: (B,).
            items: (B, C).
            recents: (B, L) of a recent block: the items before, latest first, -1 where none is.
        """
        factors = embedding(users, self.user_embedding)  # (B, D), gathered once for all C
        if recents is not None:
            rows = embedding(recents.clamp(min=0), self.recent_embedding)  # (B, L, D2)
            shares = torch.where(recents >= 0, self.recent_weights, 0.0)  # (B, L)
            factors = torch.cat([factors, (shares.unsqueeze(2) * rows).sum(dim=1)], dim=1)
        products = factors.unsqueeze(1) * embedding(items, self.item_embedding)  # (B, C, D + D2)
        # A plain index: the gradient of an embedding lookup of width 1 takes half of a step.
        bias = self.item_bias[items]  # (B, C)
        return linear(products, self.output_weight, self.output_bias).squeeze(2) + bias

    @torch.no_grad()
    def arrays(self) -> Parameters:
        """Returns the parameters as arrays on the CPU; views of them where they are there."""
        return Parameters(
            self.user_embedding.cpu().numpy(),
            self.item_embedding.cpu().numpy(),
            self.item_bias.cpu().numpy(),
            self.output_weight[0].cpu().numpy(),
            self.output_bias.cpu().numpy(),
            self.recent_embedding.cpu().numpy(),
        )
