"""NeuMF as a PyTorch module; without its GMF part it is MLP, without its tower the paper's GMF.

He et al., "Neural Collaborative Filtering", WWW 2017, eq. 10 to 12: the logit of user u and item i

    w_gmf . (p_u * q_i) + w_mlp . h_n + b
    h_1 = relu(W_1 [r_u ; s_i] + b_1),   h_k = relu(W_k h_(k-1) + b_k)

with embeddings p, q (D wide) of the GMF part and r, s (M wide) of the tower of n layers.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, relu

from ncf.serving.towers import Towers


class NeuMF(nn.Module):
    """The parameters, and the logits of them.

    Shapes: gmf_users (U, D), gmf_items (I, D), mlp_users (U, M), mlp_items (I, M); the first layer
    in two halves, (M, M) each, for users and items; the k-th further layer (M / 2^k, M / 2^(k-1)).
    """

    def __init__(
        self, n_users: int, n_items: int, gmf_dim: int, mlp_dim: int, n_layers: int
    ) -> None:
        """Allocates the parameters, all of them zero; `start.py` fills them."""
        super().__init__()
        widths = [mlp_dim // 2**k for k in range(n_layers if mlp_dim else 0)]
        last = widths[-1] if widths else 0
        self.gmf_users = _zeros(n_users, gmf_dim)
        self.gmf_items = _zeros(n_items, gmf_dim)
        self.mlp_users = _zeros(n_users, mlp_dim)
        self.mlp_items = _zeros(n_items, mlp_dim)
        self.first_of_users = _zeros(mlp_dim, mlp_dim)
        self.first_of_items = _zeros(mlp_dim, mlp_dim)
        self.first_bias = _zeros(mlp_dim)
        pairs = list(pairwise(widths))
        self.weights = nn.ParameterList(_zeros(width, before) for before, width in pairs)
        self.biases = nn.ParameterList(_zeros(width) for _, width in pairs)
        self.gmf_output = _zeros(gmf_dim)
        self.mlp_output = _zeros(last)
        self.output_bias = _zeros(1)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Returns the logits (B, C) of users (B,) with items (B, C)."""
        logits = self.output_bias.expand(items.shape)
        if len(self.gmf_output):
            # a user's row is gathered once for all C, and weighted once
            of_users = embedding(users, self.gmf_users) * self.gmf_output  # (B, D)
            of_items = embedding(items, self.gmf_items)  # (B, C, D)
            logits = logits + (of_items @ of_users.unsqueeze(2)).squeeze(2)
        if len(self.mlp_output):
            logits = logits + self._tower(users, items)
        return logits

    def _tower(self, users: Tensor, items: Tensor) -> Tensor:
        # W_1 [r ; s] is a sum of two products. The user's is made once for all C; the items', of
        # every item at once where a batch holds more pairs than there are items.
        of_users = linear(embedding(users, self.mlp_users), self.first_of_users, self.first_bias)
        if items.numel() > len(self.mlp_items):
            of_items = embedding(items, linear(self.mlp_items, self.first_of_items))
        else:
            of_items = linear(embedding(items, self.mlp_items), self.first_of_items)
        hidden = relu(of_users.unsqueeze(1) + of_items)  # (B, C, M)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            hidden = relu(linear(hidden, weight, bias))
        return hidden @ self.mlp_output

    @torch.no_grad()
    def scorer(self) -> Towers:
        """Returns the scorer of the parameters as they are now, on the CPU."""
        of_users = linear(self.mlp_users, self.first_of_users, self.first_bias)
        return Towers(
            (self.gmf_users * self.gmf_output).cpu().numpy(),
            self.gmf_items.detach().cpu().numpy(),
            of_users.cpu().numpy(),
            linear(self.mlp_items, self.first_of_items).cpu().numpy(),
            tuple(weight.detach().cpu().numpy() for weight in self.weights),
            tuple(bias.detach().cpu().numpy() for bias in self.biases),
            self.mlp_output.detach().cpu().numpy(),
            self.output_bias.detach().cpu().numpy(),
        )


def _zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(*shape))
