"""The training of MLP and NeuMF: minibatches of Adam, on any device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ncf.models.minibatches import adam
from ncf.models.model import Epoch
from ncf.models.negatives import check_sampleable
from ncf.models.neumf.module import NeuMF
from ncf.models.neumf.setting import NeuMFHyperparameters, NeuralSetting
from ncf.models.neumf.start import fill, join
from ncf.models.positives import draw_positives
from ncf.models.training import Trainee, choose_device, train
from ncf.protocol.splitting import History


def fit(
    history: History,
    setting: NeuralSetting,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[Epoch]:
    """Yields a usable model after every epoch; pre-training comes before the first.

    Args:
        history: The training interactions.
        setting: The hyperparameters.
        epochs: The most epochs to train, pre-training not counted.
        seed: Of the start, the negatives and the order.
        device: Where to train.
        starts: Folder where spectral starts of this history are kept.

    Raises:
        ValueError: A user has interacted with every item, so that it has no negative; the device is
            not there; or `recency` is above 0 and the order of the items not known.
    """
    check_sampleable(history)
    start_seed, *seeds = map(int, seed.generate_state(1 + epochs, np.uint64))
    gmf_dim = setting.embedding_dim if isinstance(setting, NeuMFHyperparameters) else 0

    def module_of(gmf_dim: int, mlp_dim: int, part: int) -> NeuMF:
        module = NeuMF(history.n_users, history.n_items, gmf_dim, mlp_dim, setting.n_layers)
        fill(module, history, setting, start_seed + part, starts)
        return module.to(choose_device(device))

    module = module_of(gmf_dim, setting.mlp_dim, 0)
    if isinstance(setting, NeuMFHyperparameters) and setting.pretraining_epochs:
        gmf, mlp = module_of(gmf_dim, 0, 1), module_of(0, setting.mlp_dim, 2)
        for number, part in enumerate((gmf, mlp)):
            of_part = np.random.SeedSequence([start_seed, number])
            part_seeds = of_part.generate_state(setting.pretraining_epochs, np.uint64)
            for _ in _epochs(part, history, setting, [int(s) for s in part_seeds]):
                pass
        join(module, gmf, mlp)
    yield from _epochs(module, history, setting, seeds)


def _epochs(
    module: NeuMF, history: History, setting: NeuralSetting, seeds: Sequence[int]
) -> Iterator[Epoch]:
    run_batches = adam(module, history, setting)

    def run_epoch(seed: int, learning_rate: float) -> float:
        # ~: another stream of random numbers than that of the epoch's order and negatives
        positives = draw_positives(history, setting.recency, ~seed)
        return run_batches(positives, None, seed, learning_rate)

    n_samples = len(history.items) * (1 + setting.n_negatives)
    return train(Trainee(run_epoch, module.scorer, n_samples), setting, seeds)
