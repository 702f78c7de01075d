"""Training as a generator of epochs: the caller evaluates, logs, reports and stops it.

The loss is binary cross-entropy on logits over each positive and its N negatives, drawn afresh
every epoch (He et al. 2017, eq. 7). Negatives are drawn for each positive as a group, so that a
step gathers a user's row once and not 1 + N times. "adam" is PyTorch minibatches on any device;
"sgd" is the compiled per-sample loop of `gmf/sgd.py`, which updates the same module in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.init import xavier_uniform_

from ncf.models.gmf.module import GMF
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.gmf.sgd import sgd_epoch
from ncf.models.gmf.spectral import spectral_start
from ncf.models.recency import draw_positives
from ncf.protocol.sampling import check_sampleable, draw_negatives
from ncf.protocol.splitting import History

_RunEpoch: TypeAlias = Callable[[NDArray[np.int32], float, int], float]
"""Given an epoch's positives, a learning rate and a seed, trains and returns the mean loss."""


@dataclass(frozen=True)
class EpochResult:
    """One epoch of training.

    Attributes:
        epoch: From 1.
        loss: Mean binary cross-entropy of the epoch's samples, each before its update.
        seconds: Duration of the training alone.
        n_samples: User-item pairs trained on.
        model: The model after this epoch; the next epoch changes it in place.
    """

    epoch: int
    loss: float
    seconds: float
    n_samples: int
    model: GMF


def choose_device(device: str) -> torch.device:
    """Turns "auto" into the best device of this machine, and checks any other.

    Raises:
        ValueError: The device is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return torch.device(next(name for name, is_there in available.items() if is_there))
    try:
        kind = torch.device(device).type
    except RuntimeError:  # not a device's name
        kind = ""
    if not available.get(kind, False):
        raise ValueError(f"--device {device}: this machine has no such device; use auto or cpu")
    return torch.device(device)


def train(
    history: History,
    hyperparameters: Hyperparameters,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[EpochResult]:
    """Yields after every epoch. Same history, hyperparameters and seed, same result, bit for bit.

    Args:
        history: What to train on.
        hyperparameters: How.
        epochs: Most epochs.
        seed: Of the start, the negatives and the order.
        device: Of "adam".
        starts: Folder where spectral starts of this history are kept.

    Raises:
        ValueError: A user has interacted with every item, so that it has no negative.
    """
    check_sampleable(history.indptr, history.n_items)
    init_seed, *epoch_seeds = seed.generate_state(1 + epochs, np.uint64)
    model = _start(history, hyperparameters, int(init_seed), starts)
    if hyperparameters.optimizer == "sgd":
        run_epoch = _sgd(model, history, hyperparameters)
    else:
        run_epoch = _adam(model.to(choose_device(device)), history, hyperparameters)
    n_samples = len(history.items) * (1 + hyperparameters.n_negatives)
    learning_rate = hyperparameters.learning_rate
    for epoch, epoch_seed in enumerate(map(int, epoch_seeds), start=1):
        start = time.perf_counter()
        # ~: another stream of random numbers than that of the epoch's order and negatives
        positives = draw_positives(history, hyperparameters.recency, ~epoch_seed)
        loss = run_epoch(positives, learning_rate, epoch_seed)
        yield EpochResult(epoch, loss, time.perf_counter() - start, n_samples, model)
        learning_rate *= hyperparameters.learning_rate_decay


def _start(
    history: History, hyperparameters: Hyperparameters, seed: int, starts: Path | None
) -> GMF:
    h = hyperparameters
    generator = torch.Generator().manual_seed(seed % 2**63)
    model = GMF(history.n_users, history.n_items, h.embedding_dim)
    embeddings = (model.user_embedding.weight, model.item_embedding.weight)
    with torch.no_grad():
        if h.initialization == "spectral":
            factors = spectral_start(history, h.embedding_dim, starts)
            for embedding, start in zip(embeddings, factors, strict=True):
                np.multiply(start, h.init_rms, out=embedding.detach().numpy())
        elif h.initialization == "xavier":
            for embedding in embeddings:
                xavier_uniform_(embedding, generator=generator)
        else:
            for embedding in embeddings:
                embedding.normal_(0, 0.01, generator=generator)
            if h.learn_output_weight:
                bound = (3 / h.embedding_dim) ** 0.5
                model.output.weight.uniform_(-bound, bound, generator=generator)
    return model


def _sgd(model: GMF, history: History, hyperparameters: Hyperparameters) -> _RunEpoch:
    views = [
        parameter.detach().numpy()
        for parameter in (
            model.user_embedding.weight,
            model.item_embedding.weight,
            model.item_bias.weight,
            model.output.weight,
            model.output.bias,
        )
    ]

    def run_epoch(positives: NDArray[np.int32], learning_rate: float, seed: int) -> float:
        return sgd_epoch(
            history.indptr,
            history.items,
            history.user_of,
            history.n_items,
            *views,
            n_negatives=hyperparameters.n_negatives,
            learning_rate=learning_rate,
            l2=hyperparameters.weight_decay,
            positives=positives,
            popular_negatives=hyperparameters.popular_negatives,
            learn_output_weight=hyperparameters.learn_output_weight,
            learn_item_bias=hyperparameters.learn_item_bias,
            seed=seed,
        )

    return run_epoch


def _adam(model: GMF, history: History, hyperparameters: Hyperparameters) -> _RunEpoch:
    device = model.output.weight.device
    n_negatives = hyperparameters.n_negatives
    groups = max(
        1, hyperparameters.batch_size // (1 + n_negatives)
    )  # a positive with its negatives
    model.output.weight.requires_grad_(hyperparameters.learn_output_weight)
    model.item_bias.weight.requires_grad_(hyperparameters.learn_item_bias)
    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=hyperparameters.learning_rate,
        weight_decay=hyperparameters.weight_decay,
        fused=True,
    )

    def run_epoch(positives: NDArray[np.int32], learning_rate: float, seed: int) -> float:
        optimizer.param_groups[0]["lr"] = learning_rate
        order = np.random.default_rng(seed).permutation(len(positives))
        users = history.user_of[order]
        negatives = draw_negatives(
            history.indptr,
            history.items,
            history.n_items,
            users,
            n_negatives,
            seed,
            popular=hyperparameters.popular_negatives,
        )
        items = np.concatenate([positives[order, None], negatives], axis=1)  # (E, 1 + N)
        user_batches = torch.from_numpy(users).to(device).split(groups)
        item_batches = torch.from_numpy(items).to(device).split(groups)
        labels = torch.zeros(groups, 1 + n_negatives, device=device)
        labels[:, 0] = 1
        total = torch.zeros((), device=device)  # stays on the device: no wait for it in the loop
        for user_batch, item_batch in zip(user_batches, item_batches, strict=True):
            n_groups = len(user_batch)
            loss = binary_cross_entropy_with_logits(
                model(user_batch.long(), item_batch.long()), labels[:n_groups]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * n_groups
        return float(total) / len(positives)

    return run_epoch
