"""GMF's training: by the compiled loop of `sgd.py`, or by PyTorch's minibatches on any device.

The loss is binary cross-entropy on logits over each positive and its N negatives, drawn afresh
every epoch (He et al. 2017, eq. 7). Both ways change the same arrays in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ncf.models.gmf.kernel import Parameters
from ncf.models.gmf.recent import items_at, items_before, latest_items, recent_weights
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.gmf.sgd import sgd_epoch
from ncf.models.gmf.start import start
from ncf.models.model import Epoch
from ncf.models.negatives import check_sampleable, touched_filter
from ncf.models.positives import draw_positions, draw_positives
from ncf.models.training import Trainee, choose_device, train
from ncf.protocol.splitting import History
from ncf.serving.factors import Factors, Recent


def fit(
    history: History,
    setting: Hyperparameters,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[Epoch]:
    """Yields a usable GMF after every epoch; the same bits for the same seed.

    Args:
        history: The training interactions.
        setting: The hyperparameters.
        epochs: The most epochs to train.
        seed: Of the start, the negatives and the order.
        device: Where "adam" trains; "sgd" is compiled for the CPU.
        starts: Folder where spectral starts of this history are kept.

    Raises:
        ValueError: A user has interacted with every item, so that it has no negative; or the order
            of the items is asked for (`recency`, `n_recent`) and not known.
    """
    check_sampleable(history)
    start_seed, *seeds = map(int, seed.generate_state(1 + epochs, np.uint64))
    parameters = start(history, setting, start_seed, starts)
    trainee = _sgd if setting.optimizer == "sgd" else _adam
    yield from train(trainee(parameters, history, setting, device), setting, seeds)


def _sgd(
    parameters: Parameters, history: History, setting: Hyperparameters, device: str
) -> Trainee:
    draw = draw_positions if setting.n_recent else draw_positives
    touched = touched_filter(history)

    def run_epoch(seed: int, learning_rate: float) -> float:
        # ~: another stream of random numbers than that of the epoch's order and negatives
        visits = draw(history, setting.recency, ~seed)
        return sgd_epoch(history, parameters, setting, visits, learning_rate, seed, touched)

    return _trainee(run_epoch, lambda: parameters, history, setting)


def _adam(
    parameters: Parameters, history: History, setting: Hyperparameters, device: str
) -> Trainee:
    from ncf.models.gmf.module import GMF  # PyTorch, which "sgd" does without
    from ncf.models.minibatches import adam

    module = GMF(parameters, recent_weights(setting))
    module.output_weight.requires_grad_(setting.learn_output_weight)
    module.item_bias.requires_grad_(setting.learn_item_bias)
    run_batches = adam(module.to(choose_device(device)), history, setting)

    def run_epoch(seed: int, learning_rate: float) -> float:
        if not setting.n_recent:
            positives = draw_positives(history, setting.recency, ~seed)
            return run_batches(positives, None, seed, learning_rate)
        positions = draw_positions(history, setting.recency, ~seed)
        positives = items_at(history, history.user_of, positions)
        recents = items_before(history, history.user_of, positions, setting.n_recent)
        return run_batches(positives, recents, seed, learning_rate)

    return _trainee(run_epoch, module.arrays, history, setting)


def _trainee(
    run_epoch: Callable[[int, float], float],
    parameters: Callable[[], Parameters],
    history: History,
    setting: Hyperparameters,
) -> Trainee:
    recents = latest_items(history, setting.n_recent) if setting.n_recent else None
    n_samples = len(history.items) * (1 + setting.n_negatives)
    return Trainee(run_epoch, lambda: scorer_of(parameters(), setting, recents), n_samples)


def scorer_of(
    parameters: Parameters, setting: Hyperparameters, recents: NDArray[np.int32] | None
) -> Factors:
    """Returns the scorer of the parameters, of which it shares what it can.

    Args:
        parameters: What was trained.
        setting: The hyperparameters.
        recents: (U, L) each user's last items, latest first; None where there is no recent block.
    """
    user_factors, recent_factors = parameters.user_embedding, parameters.recent_embedding
    weights = parameters.output_weight
    if (weights != 1).any():  # else a copy of the largest arrays can be spared
        user_factors = user_factors * weights[: user_factors.shape[1]]
        recent_factors = recent_factors * weights[user_factors.shape[1] :]
    block = None if recents is None else Recent(recent_factors, recent_weights(setting), recents)
    item_bias = parameters.item_bias + parameters.output_bias
    return Factors(user_factors, parameters.item_embedding, item_bias, block)
