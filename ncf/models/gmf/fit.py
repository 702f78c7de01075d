"""GMF's training: by the compiled loop of `sgd.py`, or by PyTorch's minibatches on any device.

The loss is binary cross-entropy on logits over each positive and its N negatives, drawn afresh
every epoch (He et al. 2017, eq. 7). Both ways change the same arrays in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ncf.models.gmf.kernel import Parameters
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.gmf.sgd import sgd_epoch
from ncf.models.gmf.start import start
from ncf.models.model import Epoch
from ncf.models.negatives import check_sampleable
from ncf.models.positives import draw_positives
from ncf.models.training import Trainee, choose_device, train
from ncf.protocol.splitting import History
from ncf.serving.scorers import Factors


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
        ValueError: A user has interacted with every item, so that it has no negative.
    """
    check_sampleable(history)
    start_seed, *seeds = map(int, seed.generate_state(1 + epochs, np.uint64))
    parameters = start(history, setting, start_seed, starts)
    trainee = _sgd if setting.optimizer == "sgd" else _adam
    yield from train(trainee(parameters, history, setting, device), setting, seeds)


def _sgd(
    parameters: Parameters, history: History, setting: Hyperparameters, device: str
) -> Trainee:
    def run_epoch(seed: int, learning_rate: float) -> float:
        # ~: another stream of random numbers than that of the epoch's order and negatives
        positives = draw_positives(history, setting.recency, ~seed)
        return sgd_epoch(history, parameters, setting, positives, learning_rate, seed)

    return Trainee(run_epoch, lambda: scorer_of(parameters), _n_samples(history, setting))


def _adam(
    parameters: Parameters, history: History, setting: Hyperparameters, device: str
) -> Trainee:
    from ncf.models.gmf.module import GMF  # PyTorch, which "sgd" does without
    from ncf.models.minibatches import adam

    module = GMF(parameters)
    module.output_weight.requires_grad_(setting.learn_output_weight)
    module.item_bias.requires_grad_(setting.learn_item_bias)
    run_batches = adam(module.to(choose_device(device)), history, setting)

    def run_epoch(seed: int, learning_rate: float) -> float:
        positives = draw_positives(history, setting.recency, ~seed)
        return run_batches(positives, seed, learning_rate)

    return Trainee(run_epoch, lambda: scorer_of(module.arrays()), _n_samples(history, setting))


def scorer_of(parameters: Parameters) -> Factors:
    """Returns the scorer of the parameters, of which it shares what it can."""
    w = parameters.output_weight
    has_weights = bool((w != 1).any())  # else a copy of the largest array can be spared
    return Factors(
        parameters.user_embedding * w if has_weights else parameters.user_embedding,
        parameters.item_embedding,
        parameters.item_bias + parameters.output_bias,
    )


def _n_samples(history: History, setting: Hyperparameters) -> int:
    return len(history.items) * (1 + setting.n_negatives)
