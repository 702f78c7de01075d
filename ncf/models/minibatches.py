"""Minibatches of Adam for any module: the negatives of a positive stay with it, as a group.

A group is one user, their positive and its N negatives, so that a step gathers the user's row once
and not 1 + N times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ncf.models.negatives import draw_negatives
from ncf.protocol.splitting import History


class BatchSetting(Protocol):
    """What minibatches read of a setting."""

    @property
    def n_negatives(self) -> int:
        """N, the negatives of each positive."""
        ...

    @property
    def popular_negatives(self) -> float:
        """Share of the negatives drawn in proportion to popularity."""
        ...

    @property
    def batch_size(self) -> int:
        """Samples, user-item pairs, of a step."""
        ...

    @property
    def learning_rate(self) -> float:
        """Step size of the first epoch."""
        ...

    @property
    def weight_decay(self) -> float:
        """L2 penalty of every parameter at every step."""
        ...


RunBatches: TypeAlias = Callable[[NDArray[np.int32], NDArray[np.int32] | None, int, float], float]
"""Trains by an epoch and returns its mean loss.

Given are its positives (E,), of the users `history.user_of`; what the module takes of each beside
users and items, (E, L), or None; its seed; and its learning rate.
"""


def adam(module: nn.Module, history: History, setting: BatchSetting) -> RunBatches:
    """Returns what trains a module by one epoch of minibatches, on the device that it is on.

    Args:
        module: Returns logits (B, 1 + N) of users (B,), items (B, 1 + N) and, where they are given,
            contexts (B, L). Parameters that do not require a gradient stay as they are.
        history: The training interactions.
        setting: The sizes and rates.
    """
    device = next(module.parameters()).device
    n_negatives = setting.n_negatives
    n_groups = max(1, setting.batch_size // (1 + n_negatives))
    optimizer = torch.optim.Adam(
        module.parameters(),
        lr=setting.learning_rate,
        weight_decay=setting.weight_decay,
        fused=True,
    )
    labels = torch.zeros(n_groups, 1 + n_negatives, device=device)
    labels[:, 0] = 1

    def step(users: Tensor, items: Tensor, *contexts: Tensor) -> Tensor:
        logits = module(users.long(), items.long(), *(context.long() for context in contexts))
        loss = binary_cross_entropy_with_logits(logits, labels[: len(users)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach() * len(users)

    def run_epoch(
        positives: NDArray[np.int32],
        contexts: NDArray[np.int32] | None,
        seed: int,
        learning_rate: float,
    ) -> float:
        optimizer.param_groups[0]["lr"] = learning_rate
        order = np.random.default_rng(seed).permutation(len(positives))
        users = history.user_of[order]
        negatives = draw_negatives(
            history, users, n_negatives, seed, popular_negatives=setting.popular_negatives
        )
        items = np.concatenate([positives[order, None], negatives], axis=1)  # (E, 1 + N)
        arrays = [users, items] if contexts is None else [users, items, contexts[order]]
        batches = (torch.from_numpy(array).to(device).split(n_groups) for array in arrays)
        total = torch.zeros((), device=device)  # stays on the device: no wait for it in the loop
        for batch in zip(*batches, strict=True):
            total += step(*batch)
        return float(total) / len(positives)

    return run_epoch
