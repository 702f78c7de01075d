"""SASRec (Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018) and two losses.

The sizes are the paper's for ml-1m. The form is that of the authors' code and of its known port to
PyTorch (github.com/pmixer/SASRec.pytorch): queries are normalized and the residual starts from
them, keys and values are not. The losses, each a sum over the positions of some sequences:

    bce      the paper's: at each position the next item, and one item that is not in the user's
             train, as two binary decisions
    softmax  cross-entropy over the whole catalogue, nothing sampled: SASRec gains much by it
             (Klenitskiy & Vasilev, "Turning Dross Into Gold Loss", RecSys 2023)

Needs torch and numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

DIM, BLOCKS, LENGTH, DROPOUT = 50, 2, 200, 0.2  # one head
CHUNK = 128  # positions whose scores of all items are in memory at once


class Dropout(nn.Module):
    """Dropout of DROPOUT, to one part in 2^16; torch's took a third of the time of training."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.rng = rng

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        if not self.training:
            return x
        words = self.rng.integers(2**64, size=-(-x.numel() // 4), dtype=np.uint64)
        stays = words.view(np.uint16)[: x.numel()] >= round(DROPOUT * 2**16)
        return x * torch.from_numpy(stays * np.float32(1 / (1 - DROPOUT))).view(x.shape)


class Block(nn.Module):
    """Causal self-attention of one head, then a feed-forward network at each position."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(DIM, eps=1e-8)
        self.query, self.key_value = nn.Linear(DIM, DIM), nn.Linear(DIM, 2 * DIM)
        self.out = nn.Linear(DIM, DIM)
        self.norm = nn.LayerNorm(DIM, eps=1e-8)
        self.inner, self.outer = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.dropout = Dropout(rng)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Maps (B, L, D) to (B, L, D); mask (L, L) is -inf where a query may not look."""
        normed = self.attention_norm(x)
        key, value = self.key_value(x).chunk(2, dim=-1)
        query = self.query(normed)
        logits = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=1 / math.sqrt(DIM))
        weights = self.dropout(logits.softmax(dim=-1))
        x = self.norm(normed + self.out(weights @ value))
        inner = F.relu(self.dropout(self.inner(x)))
        states: Tensor = x + self.dropout(self.outer(inner))
        return states


class SASRec(nn.Module):
    """What a user has taken, in order, to a vector whose dot products with items score the next."""

    def __init__(self, n_items: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.items, self.positions = nn.Embedding(n_items, DIM), nn.Embedding(LENGTH, DIM)
        self.dropout = Dropout(rng)
        self.blocks = nn.ModuleList(Block(rng) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(DIM, eps=1e-8)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Maps items (B, L), padded on the right, and lengths (B,) to states (B, L, D)."""
        place = torch.arange(items.shape[1])
        position = (LENGTH - lengths[:, None] + place).clamp(max=LENGTH - 1)
        x = self.items(items) * math.sqrt(DIM) + self.positions(position)
        x = self.dropout(x)
        mask = torch.full((len(place), len(place)), -math.inf).triu(1)
        for block in self.blocks:
            x = block(x, mask)
        states: Tensor = self.norm(x)
        return states


class SoftmaxLoss(torch.autograd.Function):
    """Sum of cross-entropies over the catalogue; forward finds the gradients as well.

    The scores, (T, I), are never whole in memory, and each is computed once.
    """

    @staticmethod
    def forward(context: Any, states: Tensor, items: Tensor, targets: Tensor) -> Tensor:
        """Takes states (T, D), items (I, D) and the targets (T,) among them; returns the sum."""
        d_states, d_items = torch.empty_like(states), torch.zeros_like(items)
        loss = torch.zeros(())
        for rows in torch.arange(len(states)).split(CHUNK):
            state, target = states[rows], targets[rows]
            shares = (state @ items.T).softmax(dim=1)
            loss -= shares.gather(1, target[:, None]).clamp(min=1e-37).log().sum()
            d_states[rows] = (shares @ items).sub_(items[target])
            d_items.addmm_(shares.T, state).index_add_(0, target, state, alpha=-1)
        context.save_for_backward(d_states, d_items)
        return loss

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Scales what forward found."""
        d_states, d_items = context.saved_tensors
        return d_states * gradients[0], d_items * gradients[0], None


def softmax_loss(model: SASRec, states: Tensor, targets: Tensor, owners: Tensor) -> Tensor:
    """Returns the sum over positions: states (T, D), next items (T,), users (T,) (not used)."""
    loss: Tensor = SoftmaxLoss.apply(states, model.items.weight, targets)  # type: ignore[no-untyped-call]
    return loss


def bce_loss(taken: NDArray[np.bool_], rng: np.random.Generator) -> Callable[..., Tensor]:
    """Returns the paper's loss; taken (U, I) tells what may not be drawn for a user."""

    def loss(model: SASRec, states: Tensor, targets: Tensor, owners: Tensor) -> Tensor:
        users = owners.numpy()
        drawn = rng.integers(taken.shape[1], size=len(users))
        while len(again := np.flatnonzero(taken[users, drawn])):
            drawn[again] = rng.integers(taken.shape[1], size=len(again))
        positive = (states * model.items(targets)).sum(dim=1)
        negative = (states * model.items(torch.from_numpy(drawn))).sum(dim=1)
        return F.softplus(-positive).sum() + F.softplus(negative).sum()

    return loss
