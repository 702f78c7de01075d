"""Per-sample stochastic gradient descent for GMF, compiled, on the parameters in place.

GMF (He et al., WWW 2017), trained as in "Neural Collaborative Filtering vs. Matrix Factorization
Revisited" (Rendle et al., RecSys 2020): binary cross-entropy on logits, L2 on the rows used.

    s = sum_d w_d p_d q_d + c + b          p: user's row, q: item's row, c: item's bias
    g = sigmoid(s) - y                     y = 1 for a positive, 0 for a negative
    p <- p - lr (g w q + weight_decay p)   w <- w - lr g p q
    q <- q - lr (g w p + weight_decay q)   b <- b - lr g
    c <- c - lr (g + weight_decay c)

All five updates use the old values. w and b, which every sample uses, have no L2. By its growth w
can undo the L2 of p and q; a fixed w = 1 (matrix factorization) overfits later. An epoch visits E
positives in a fresh random order, each followed by its N fresh negatives: E (1 + N) samples, each
with an update of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ncf.models.gmf.kernel import Parameters, Samples, update
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.negatives import draw_negatives, touched_filter
from ncf.protocol.random import read_only, shuffle
from ncf.protocol.splitting import History

BLOCK = 4096  # positives whose negatives are drawn at a time; they stay in the processor's cache


def sgd_epoch(
    history: History,
    parameters: Parameters,
    setting: Hyperparameters,
    positives: NDArray[np.int32],
    learning_rate: float,
    seed: int,
) -> float:
    """Trains for one epoch, in place, and returns the mean loss, each sample's before its update.

    A diverged model returns a loss that is not finite. Call `check_sampleable` once before.

    Args:
        history: The training interactions, E.
        parameters: What is trained.
        setting: The hyperparameters, of which the learning rate is not read.
        positives: (E,) positive of each visit, to the user `history.user_of` of the same place.
        learning_rate: Step size of every update of this epoch.
        seed: Any 64-bit integer; equal seeds give equal epochs, bit for bit, on one machine.

    Returns:
        Mean binary cross-entropy of the E (1 + N) samples.

    Raises:
        ValueError: A parameter cannot be trained in place, or shapes do not fit each other.
    """
    check_parameters(parameters, history)
    loss = 0.0
    for block in samples(history, positives, setting, seed):
        loss += update(
            block,
            parameters,
            np.float32(learning_rate),
            np.float32(setting.weight_decay),
            setting.learn_output_weight,
            setting.learn_item_bias,
        )
    return loss / (len(positives) * (1 + setting.n_negatives))


def samples(
    history: History, positives: NDArray[np.int32], setting: Hyperparameters, seed: int
) -> Iterator[Samples]:
    """Yields an epoch's samples in blocks, in a random order of the visits."""
    n_blocks = -(-len(positives) // BLOCK)
    seeds = np.random.SeedSequence(seed & 0xFFFFFFFFFFFFFFFF).generate_state(
        1 + n_blocks, np.uint64
    )
    # pairs are shuffled, not indices: one walk through memory in random order, not three
    pairs = np.stack([history.user_of, positives], axis=1)
    shuffle(pairs.view(np.int64).reshape(-1), int(seeds[0]))
    touched = touched_filter(history)
    for block, block_seed in enumerate(map(int, seeds[1:])):
        users, visited = pairs[block * BLOCK : (block + 1) * BLOCK].T.copy()
        negatives = draw_negatives(
            history, users, setting.n_negatives, block_seed, touched, setting.popular_negatives
        )
        yield Samples(read_only(users), read_only(visited), read_only(negatives))


def check_parameters(parameters: Parameters, history: History) -> None:
    """Refuses parameters that compiled code could not train in place.

    Raises:
        ValueError: An array is of another type, layout or shape.
    """
    dim = parameters.user_embedding.shape[-1]
    n_users, n_items = history.n_users, history.n_items
    shapes = Parameters((n_users, dim), (n_items, dim), (n_items,), (dim,), (1,))  # type: ignore[arg-type]
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
    history = History(np.array([0, 1, 2]), pair, 3)
    rows = [np.ones(shape, np.float32) for shape in ((2, 4), (3, 4), 3, 4, 1)]
    sgd_epoch(history, Parameters(*rows), Hyperparameters(n_negatives=1), pair, 0.1, 0)
