"""Per-sample stochastic gradient descent for GMF, compiled, on the parameters in place.

GMF (He et al., WWW 2017), trained as in "Neural Collaborative Filtering vs. Matrix Factorization
Revisited" (Rendle et al., RecSys 2020): binary cross-entropy on logits, L2 on the rows used.

    s = sum_d w_d p_d q_d + c + b          p: user's row, q: item's row, c: item's bias
    g = sigmoid(s) - y                     y = 1 for a positive, 0 for a negative
    p <- p - lr (g w q + weight_decay p)   w <- w - lr g p q
    q <- q - lr (g w p + weight_decay q)   b <- b - lr g
    c <- c - lr (g + weight_decay c)

With a recent block (`recent.py`) p and q are [p_u ; x_u] and [q_i ; m_i], and the same updates run
on D + D2 columns: x_u is built before a positive and its negatives, and after them its change goes
to the items that it is made of, X[j_a] <- X[j_a] + w_a (x_end - x_start).

All five updates use the old values. w and b, which every sample uses, have no L2. By its growth w
can undo the L2 of p and q; a fixed w = 1 (matrix factorization) overfits later. An epoch visits E
positives in a fresh random order, each followed by its N fresh negatives: E (1 + N) samples, each
with an update of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.models.gmf.kernel import Parameters, Samples, update
from ncf.models.gmf.recent import items_at, items_before, recent_weights
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.negatives import Touched, draw_negatives, touched_filter
from ncf.protocol.random import read_only, shuffle
from ncf.protocol.splitting import History

BLOCK = 4096  # positives whose negatives are drawn at a time; they stay in the processor's cache


def sgd_epoch(
    history: History,
    parameters: Parameters,
    setting: Hyperparameters,
    visits: NDArray[np.int32],
    learning_rate: float,
    seed: int,
    touched: Touched | None = None,
) -> float:
    """Trains for one epoch, in place, and returns the mean loss, each sample's before its update.

    A diverged model returns a loss that is not finite. Call `check_sampleable` once before.

    Args:
        history: The training interactions, E.
        parameters: What is trained.
        setting: The hyperparameters, of which the learning rate is not read.
        visits: (E,) positive of each visit, to the user `history.user_of` of the same place: the
            item, or with a recent block its position in the user's items by time.
        learning_rate: Step size of every update of this epoch.
        seed: Any 64-bit integer; equal seeds give equal epochs, bit for bit, on one machine.
        touched: The history's `touched_filter`, to pass when training several epochs.

    Returns:
        Mean binary cross-entropy of the E (1 + N) samples.

    Raises:
        ValueError: A parameter cannot be trained in place, or shapes do not fit each other.
    """
    check_parameters(parameters, history)
    loss, weights = 0.0, read_only(recent_weights(setting))
    for block in samples(history, visits, setting, seed, touched):
        loss += update(
            block,
            parameters,
            weights,
            np.float32(learning_rate),
            np.float32(setting.weight_decay),
            setting.learn_output_weight,
            setting.learn_item_bias,
        )
    return loss / (len(visits) * (1 + setting.n_negatives))


def samples(
    history: History,
    visits: NDArray[np.int32],
    setting: Hyperparameters,
    seed: int,
    touched: Touched | None = None,
) -> Iterator[Samples]:
    """Yields an epoch's samples in blocks, in a random order of the visits."""
    n_blocks = -(-len(visits) // BLOCK)
    seeds = np.random.SeedSequence(seed & 0xFFFFFFFFFFFFFFFF).generate_state(
        1 + n_blocks, np.uint64
    )
    # pairs are shuffled, not indices: one walk through memory in random order, not three
    pairs = np.empty((len(visits), 2), np.int32)
    _fill_pairs(read_only(history.indptr), read_only(visits), pairs)
    shuffle(pairs.view(np.int64).reshape(-1), int(seeds[0]))
    touched = touched_filter(history) if touched is None else touched
    for block, block_seed in enumerate(map(int, seeds[1:])):
        users, visited = pairs[block * BLOCK : (block + 1) * BLOCK].T.copy()
        negatives = draw_negatives(
            history, users, setting.n_negatives, block_seed, touched, setting.popular_negatives
        )
        positives, recents = visited, np.empty((len(users), 0), np.int32)
        if setting.n_recent:
            recents = items_before(history, users, visited, setting.n_recent)
            positives = items_at(history, users, visited)  # which lie beside them, in the cache
        yield Samples(*map(read_only, (users, positives, negatives, recents)))


@njit(cache=True)
def _fill_pairs(
    indptr: NDArray[np.int64], visits: NDArray[np.int32], pairs: NDArray[np.int32]
) -> None:
    for user in range(len(indptr) - 1):
        for entry in range(indptr[user], indptr[user + 1]):
            pairs[entry, 0], pairs[entry, 1] = user, visits[entry]


def check_parameters(parameters: Parameters, history: History) -> None:
    """Refuses parameters that compiled code could not train in place.

    Raises:
        ValueError: An array is of another type, layout or shape.
    """
    user_dim, recent_dim = (
        parameters.user_embedding.shape[-1],
        parameters.recent_embedding.shape[-1],
    )
    n_users, n_items, dim = history.n_users, history.n_items, user_dim + recent_dim
    shapes = (n_users, user_dim), (n_items, dim), (n_items,), (dim,), (1,), (n_items, recent_dim)
    for name, array, shape in zip(Parameters._fields, parameters, shapes, strict=True):
        flags = array.flags
        if array.dtype != np.float32 or not (flags.c_contiguous and flags.writeable):
            raise ValueError(
                f"{name} must be a writable, C-contiguous float32 array, but is {array.dtype} with "
                f"c_contiguous={flags.c_contiguous}, writeable={flags.writeable}"
            )
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, but has {array.shape}")


def compile_kernels() -> None:
    """Fills numba's cache on disk, from which worker processes then load all kernels."""
    pair = np.array([0, 1], np.int32)
    history = History(np.array([0, 1, 2]), pair, 3, pair)
    rows = [np.ones(shape, np.float32) for shape in ((2, 4), (3, 8), 3, 8, 1, (3, 4))]
    setting = Hyperparameters(n_negatives=1, n_recent=1)  # the same compiled code serves without it
    sgd_epoch(history, Parameters(*rows), setting, np.zeros(2, np.int32), 0.1, 0)
