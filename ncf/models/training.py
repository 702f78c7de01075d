"""Training as a generator of epochs, of any model: the caller evaluates, reports and stops it.

A model brings a `Trainee`: what trains one epoch, and what scores after it. Seeds, the learning
rate's decay and the clock are here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ncf.models.model import Epoch
from ncf.serving.scorers import Scorer

if TYPE_CHECKING:
    import torch


class Schedule(Protocol):
    """What training reads of a setting."""

    @property
    def learning_rate(self) -> float:
        """Step size of the first epoch."""
        ...

    @property
    def learning_rate_decay(self) -> float:
        """Factor on the learning rate after every epoch."""
        ...


@dataclass(frozen=True)
class Trainee:
    """A model in training.

    Attributes:
        run_epoch: Given the epoch's seed and learning rate, trains and returns the mean loss.
        scorer: Returns the scorer of the parameters as they are now.
        n_samples: User-item pairs that an epoch trains on.
    """

    run_epoch: Callable[[int, float], float]
    scorer: Callable[[], Scorer]
    n_samples: int


def train(trainee: Trainee, setting: Schedule, seeds: Sequence[int]) -> Iterator[Epoch]:
    """Yields after every epoch, of which there are as many as seeds."""
    learning_rate = setting.learning_rate
    for epoch, seed in enumerate(seeds, start=1):
        start = time.perf_counter()
        loss = trainee.run_epoch(seed, learning_rate)
        seconds = time.perf_counter() - start
        yield Epoch(epoch, loss, seconds, trainee.n_samples, trainee.scorer())
        learning_rate *= setting.learning_rate_decay


def choose_device(device: str) -> torch.device:
    """Turns "auto" into the best device of this machine, and checks any other.

    Raises:
        ValueError: The device is not there.
    """
    import torch  # here, since a model that is trained without it need not wait for it

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
