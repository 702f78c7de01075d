"""Popularity: an item's number of users, the same for everyone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ncf.models.model import Epoch
from ncf.protocol.splitting import History
from ncf.serving.scorers import Popularity

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class PopularityHyperparameters:
    """Popularity has none."""


def fit(
    history: History,
    setting: PopularityHyperparameters,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[Epoch]:
    """Yields the scorer that gives everyone the most popular items, as its only epoch."""
    start = time.perf_counter()
    scorer = Popularity(history.popularity.astype(np.float64))
    yield Epoch(1, 0.0, time.perf_counter() - start, len(history.items), scorer)


def space(trial: optuna.Trial) -> PopularityHyperparameters:
    """Suggests the only setting of popularity."""
    return PopularityHyperparameters()
