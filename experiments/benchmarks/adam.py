"""Part `adam`: the "adam" path of `ncf.models.minibatches` beside a bare loop.

The bare loop has what a fast one needs (negatives as a group, fused Adam) and nothing of what a
right one needs: its negatives are random items, whether or not the user has them. Both train on
ml-100k at dim 32 with 4 negatives on one thread, one epoch of each in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
from measurement import Row, Setup, in_fresh_process
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ncf.data.datasets import load_interactions
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import fit
from ncf.protocol.splitting import History, leave_one_out
from ncf.trials.start import one_thread

DIM, N_NEGATIVES = 32, 4


def measure(setup: Setup) -> list[Row]:
    """Returns the rows of the part."""
    rows = []
    for batch_size in (1024, 8192):
        with one_thread():
            (ours, bare), _ = in_fresh_process(alternate, batch_size, 2 if setup.quick else 12)
        ratio = statistics.median(b / a for a, b in zip(ours, bare, strict=True))
        what = f"ncf adam, batch {batch_size}, 1 thread"
        details = {"seconds": ours, "bare_seconds": bare}
        n_samples = len(_history().items) * (1 + N_NEGATIVES) / 1e6
        value, reference = (n_samples / statistics.median(seconds) for seconds in (ours, bare))
        against = f"bare loop, {reference:.2f}"
        rows.append(Row("adam", what, value, "M samples/s", against, ratio, ">= 0.9", details))
    return rows


def alternate(batch_size: int, n_epochs: int) -> tuple[list[float], list[float]]:
    """Returns the seconds of each epoch of ncf and of the bare loop."""
    torch.set_num_threads(1)
    history = _history()
    setting = Hyperparameters(
        optimizer="adam",
        initialization="xavier",
        embedding_dim=DIM,
        n_negatives=N_NEGATIVES,
        batch_size=batch_size,
        learning_rate=0.001,
        weight_decay=0.0,
    )
    ours = fit(history, setting, epochs=1 + n_epochs, seed=np.random.SeedSequence(1))
    bare = bare_epochs(history, batch_size)
    pairs = [(result.seconds, next(bare)) for result in ours][1:]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


class _PlainGMF(nn.Module):
    """GMF as in the paper: no item bias."""

    def __init__(self, n_users: int, n_items: int) -> None:
        super().__init__()
        self.user = nn.Embedding(n_users, DIM)
        self.item = nn.Embedding(n_items, DIM)
        self.output = nn.Linear(DIM, 1)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        logits: Tensor = self.output(self.user(users).unsqueeze(1) * self.item(items)).squeeze(2)
        return logits


def bare_epochs(history: History, batch_size: int) -> Iterator[float]:
    """Yields the seconds of one epoch after another."""
    model = _PlainGMF(history.n_users, history.n_items)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    users, items = torch.tensor(history.user_of).long(), torch.tensor(history.items).long()
    groups = batch_size // (1 + N_NEGATIVES)
    labels = torch.zeros(groups, 1 + N_NEGATIVES)
    labels[:, 0] = 1
    while True:
        start = time.perf_counter()
        order = torch.randperm(len(items))
        negatives = torch.randint(history.n_items, (len(items), N_NEGATIVES))
        for batch in order.split(groups):
            candidates = torch.cat([items[batch, None], negatives[batch]], 1)
            logits = model(users[batch], candidates)
            loss = binary_cross_entropy_with_logits(logits, labels[: len(batch)])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield time.perf_counter() - start


def _history() -> History:
    return leave_one_out(load_interactions("ml-100k")).train
