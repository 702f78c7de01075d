"""An estimate, before a search starts, of the memory of a trial and of its seconds per epoch.

The memory is a sum over the arrays that a trial holds at its peak, and the time a measured cost per
sample. Both are meant to be right within a factor of two, and to refuse a search that cannot fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.neumf.setting import MLPHyperparameters, NeuMFHyperparameters
from ncf.models.table import Setting
from ncf.protocol.splitting import History

_PROCESS_BYTES = 330 << 20  # of a worker that has loaded torch, numba and scipy
# Measured on one thread. A step of "adam" updates every parameter, however small its batch.
_SECONDS_PER_SAMPLE = {"sgd": 40e-9, "adam": 100e-9}
_SECONDS_PER_SAMPLE_AND_DIM = {"sgd": 0.4e-9, "adam": 3e-9}
_SECONDS_PER_NEURAL_SAMPLE_AND_DIM = 12e-9  # of MLP and NeuMF
_SECONDS_PER_STEP, _SECONDS_PER_STEP_AND_PARAMETER = 500e-6, 2e-9


@dataclass(frozen=True)
class Estimate:
    """What one trial takes.

    Attributes:
        n_bytes: Memory of its worker process at its peak, beside the data.
        n_shared_bytes: Memory of the data, which all workers of a machine share.
        seconds_per_epoch: Seconds of training in an epoch.
    """

    n_bytes: int
    n_shared_bytes: int
    seconds_per_epoch: float


def estimate(history: History, n_candidates: int, setting: Setting) -> Estimate:
    """Returns what one trial takes in a worker process.

    Args:
        history: The training interactions.
        n_candidates: The number of validation candidates of all users together, V * C.
        setting: The trial's setting.
    """
    n_interactions = len(history.items)
    shared = 8 * history.n_users + 8 * n_interactions + 4 * n_candidates
    if isinstance(setting, MLPHyperparameters | NeuMFHyperparameters):
        dim = setting.mlp_dim + getattr(setting, "embedding_dim", 0)
        n_parameters = (history.n_users + history.n_items) * dim
        n_samples = n_interactions * (1 + setting.n_negatives)
        # parameters, gradient, two moments and the scorers of two epochs; the epoch's samples
        epoch = 6 * 4 * n_parameters + 24 * n_interactions + 8 * n_samples
        per_step = _SECONDS_PER_STEP + _SECONDS_PER_STEP_AND_PARAMETER * n_parameters
        per_sample = _SECONDS_PER_NEURAL_SAMPLE_AND_DIM * dim
        seconds = n_samples * (per_sample + per_step / setting.batch_size)
        return Estimate(_PROCESS_BYTES + epoch, shared, seconds)
    if not isinstance(setting, Hyperparameters):
        return Estimate(_PROCESS_BYTES, shared, 0.0)
    recent_dim = setting.recent_dim if setting.n_recent else 0
    dim = setting.embedding_dim + recent_dim
    n_parameters = history.n_users * setting.embedding_dim + history.n_items * (dim + recent_dim)
    factors = 4 * n_parameters
    n_samples = n_interactions * (1 + setting.n_negatives)
    start = 0
    if setting.initialization == "spectral":
        rank = max(setting.embedding_dim, recent_dim)
        krylov = 4 * max(2 * rank + 1, 20) * min(history.n_users, history.n_items)
        start = 24 * n_interactions + krylov + 4 * factors
    if setting.optimizer == "sgd":
        epoch = 20 * n_interactions + 2 * factors  # pairs, filter, users and positives; two models
    else:
        epoch = 24 * n_interactions + 8 * n_samples + 5 * factors  # with a gradient, two moments
        epoch += 8 * n_interactions * setting.n_recent
    per_dim = _SECONDS_PER_SAMPLE_AND_DIM[setting.optimizer]
    seconds = n_samples * (_SECONDS_PER_SAMPLE[setting.optimizer] + per_dim * dim)
    # the recent block sums rows once for a positive and its negatives, and gives back their change
    gathered = 2 * n_interactions * setting.n_recent * recent_dim
    seconds += gathered * per_dim
    if setting.optimizer == "adam":
        per_step = _SECONDS_PER_STEP + _SECONDS_PER_STEP_AND_PARAMETER * n_parameters
        seconds += n_samples / setting.batch_size * per_step
    return Estimate(_PROCESS_BYTES + max(start, epoch), shared, seconds)


def largest(estimates: Sequence[Estimate]) -> Estimate:
    """Returns the largest memory and the largest time of any of the estimates."""
    return Estimate(
        max(one.n_bytes for one in estimates),
        max(one.n_shared_bytes for one in estimates),
        max(one.seconds_per_epoch for one in estimates),
    )


def check_fits(one: Estimate, n_workers: int) -> None:
    """Checks that the free memory of this machine suffices for all workers and their data.

    Args:
        one: What a worker takes.
        n_workers: The number of workers.

    Raises:
        ValueError: The free memory does not suffice.
    """
    free = psutil.virtual_memory().available
    if one.n_shared_bytes + one.n_bytes * n_workers > free:
        raise ValueError(
            f"{n_workers} trials at once of up to {in_gib(one.n_bytes)} each, and "
            f"{in_gib(one.n_shared_bytes)} of data that they share, need more than the "
            f"{in_gib(free)} of memory that is free: lower --jobs, or the largest embedding_dim of "
            "the search space"
        )


def in_gib(n_bytes: int) -> str:
    """Returns an amount of memory as a person reads it."""
    return f"{n_bytes / 2**30:.1f} GiB"
