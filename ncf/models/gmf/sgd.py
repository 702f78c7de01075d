"""Per-sample stochastic gradient descent for GMF, compiled, on a module's own parameters in place.

GMF (He et al., WWW 2017), trained as in "Neural Collaborative Filtering vs. Matrix Factorization
Revisited" (Rendle et al., RecSys 2020): binary cross-entropy on logits, L2 on the rows used.

    s = sum_d w_d p_d q_d + c + b          p: user's row, q: item's row, c: item's bias
    g = sigmoid(s) - y                     y = 1 for a positive, 0 for a negative
    p <- p - lr (g w q + l2 p)             w <- w - lr g p q
    q <- q - lr (g w p + l2 q)             b <- b - lr g
    c <- c - lr (g + l2 c)

All five updates use the old values. w and b, which every sample uses, have no L2. By its growth w
can undo the L2 of p and q; a fixed w = 1 (matrix factorization) overfits later. An epoch visits E
positives in a fresh random order, each followed by its N fresh negatives: E (1 + N) samples, each
with an update of its own.

The loss is exact but for rounding: -log of a product of probabilities, one logarithm for hundreds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.protocol.prefetch import prefetch
from ncf.protocol.sampling import draw_negatives, read_only, shuffle, touched_filter

BLOCK = 4096  # positives whose negatives are drawn at a time; they stay in the processor's cache
AHEAD = 8  # negatives between the request for an item's row and its use

F = np.float32
ONE = F(1)
MAX_LOGIT = F(80)  # beyond it exp leaves float32's range, and a sigmoid is 0 or 1 in float32


def sgd_epoch(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    user_of: NDArray[np.int32],
    n_items: int,
    user_embedding: NDArray[np.float32],
    item_embedding: NDArray[np.float32],
    item_bias: NDArray[np.float32],
    output_weight: NDArray[np.float32],
    output_bias: NDArray[np.float32],
    *,
    n_negatives: int,
    learning_rate: float,
    l2: float,
    seed: int,
    positives: NDArray[np.int32] | None = None,
    popular_negatives: float = 0.0,
    learn_output_weight: bool = True,
    learn_item_bias: bool = True,
) -> float:
    """Trains for one epoch, in place, and returns the mean loss, each sample's before its update.

    A diverged model returns a loss that is not finite. Call `check_sampleable` once before.

    Args:
        indptr: (U + 1,) bounds of each user's training items.
        items: (E,) training items, ascending and distinct within a user.
        user_of: (E,) user of each training item.
        n_items: Size of the catalogue.
        user_embedding: (U, D).
        item_embedding: (I, D).
        item_bias: (I,) or (I, 1).
        output_weight: (D,) or (1, D).
        output_bias: (1,).
        n_negatives: Negatives per positive.
        learning_rate: Step size of every update.
        l2: L2 penalty of what a sample alone uses, p, q and c, as `weight_decay` of torch's `SGD`.
        seed: Any 64-bit integer; equal seeds give equal epochs, bit for bit, on one machine.
        positives: (E,) positive of each visit to `user_of`; by default `items`, each once.
        popular_negatives: Share of negatives drawn in proportion to popularity.
        learn_output_weight: Whether w is updated.
        learn_item_bias: Whether c is updated.

    Returns:
        Mean binary cross-entropy of the E (1 + N) samples.

    Raises:
        ValueError: A parameter cannot be trained in place, or shapes do not fit each other.
    """
    parameters = {
        "user_embedding": user_embedding,
        "item_embedding": item_embedding,
        "item_bias": item_bias,
        "output_weight": output_weight,
        "output_bias": output_bias,
    }
    dim = user_embedding.shape[-1]
    shapes = [(len(indptr) - 1, dim), (n_items, dim), (n_items,), (dim,), (1,)]
    for (name, array), shape in zip(parameters.items(), shapes, strict=True):
        flags = array.flags
        if array.dtype != np.float32 or not (flags.c_contiguous and flags.writeable):
            raise ValueError(
                f"{name} must be a writable, C-contiguous float32 array, but is {array.dtype} with "
                f"c_contiguous={flags.c_contiguous}, writeable={flags.writeable}; "
                "pass a view of the module's own parameter"
            )
        if array.size != np.prod(shape):
            raise ValueError(f"{name} must have shape {shape}, but has {array.shape}")
    loss = 0.0
    positives = items if positives is None else positives
    for block in _samples(
        indptr, items, user_of, n_items, positives, n_negatives, popular_negatives, seed
    ):
        loss += _update(
            *block,
            user_embedding,
            item_embedding,
            item_bias.reshape(-1),
            output_weight.reshape(-1),
            output_bias,
            F(learning_rate),
            F(l2),
            learn_output_weight,
            learn_item_bias,
        )
    return loss / (len(items) * (1 + n_negatives))


def compile_kernels() -> None:
    """Fills numba's cache on disk, from which worker processes then load all kernels."""
    sgd_epoch(
        np.array([0, 1, 2]),
        np.array([0, 1], np.int32),
        np.array([0, 1], np.int32),
        3,
        np.ones((2, 4), np.float32),
        np.ones((3, 4), np.float32),
        np.zeros(3, np.float32),
        np.ones(4, np.float32),
        np.zeros(1, np.float32),
        n_negatives=1,
        learning_rate=0.1,
        l2=0.1,
        seed=0,
    )


def _samples(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    user_of: NDArray[np.int32],
    n_items: int,
    positives: NDArray[np.int32],
    n_negatives: int,
    popular_negatives: float,
    seed: int,
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]]:
    """Yields an epoch's samples in blocks: users (B,), positives (B,), negatives (B, N)."""
    n_blocks = -(-len(positives) // BLOCK)
    seeds = np.random.SeedSequence(seed & 0xFFFFFFFFFFFFFFFF).generate_state(
        1 + n_blocks, np.uint64
    )
    # pairs are shuffled, not indices: one walk through memory in random order, not three
    pairs = np.stack([user_of, positives], axis=1)
    shuffle(pairs.view(np.int64).reshape(-1), int(seeds[0]))
    touched = touched_filter(indptr, items, n_items)
    for block in range(n_blocks):
        users, visited = pairs[block * BLOCK : (block + 1) * BLOCK].T.copy()
        yield (
            read_only(users),
            read_only(visited),
            read_only(
                draw_negatives(
                    indptr,
                    items,
                    n_items,
                    users,
                    n_negatives,
                    int(seeds[1 + block]),
                    touched,
                    popular_negatives,
                )
            ),
        )


# The kernel's parts differ in what the compiler may do to their arithmetic. Sums in another order
# ("reassoc") let it use vectors; in `_exp` they would undo the rounding trick, and in the updates
# they would lengthen the chain of operations from one sample to the next. NaN and infinity keep
# their meaning everywhere.


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _logit(
    p: NDArray[np.float32], q_of: NDArray[np.float32], i: Any, w: NDArray[np.float32], biases: Any
) -> Any:
    s = biases
    for d in range(len(p)):
        s += p[d] * (w[d] * q_of[i, d])
    return s


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _exp(x: Any) -> Any:
    """e^x for |x| <= 80, within 1e-7 of it: 2^n e^r with |r| <= log(2) / 2 (Cephes' expf)."""
    shifted = x * F(1.4426950408889634) + F(12582912)  # adding 1.5 * 2^23 rounds to an integer
    n = shifted - F(12582912)
    r = (x - n * F(0.693359375)) + n * F(2.12194440e-4)
    r2 = r * r
    low = F(5.0000001201e-1) + r * F(1.6666665459e-1)
    middle = F(4.1665795894e-2) + r * F(8.3334519073e-3)
    high = F(1.3981999507e-3) + r * F(1.9875691500e-4)
    power = (F(shifted).view(np.int32) << np.int32(23)) + np.int32(0x3F800000)
    return ((ONE + r) + r2 * (low + r2 * (middle + r2 * high))) * np.int32(power).view(np.float32)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _update_rows(
    p: NDArray[np.float32],
    q_of: NDArray[np.float32],
    i: Any,
    w: NDArray[np.float32],
    keep: Any,
    step: Any,
) -> None:
    for d in range(len(p)):
        old_p, old_q = p[d], q_of[i, d]
        p[d] = keep * old_p + step * (w[d] * old_q)
        q_of[i, d] = keep * old_q + step * (w[d] * old_p)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _update_all(
    p: NDArray[np.float32],
    q_of: NDArray[np.float32],
    i: Any,
    w: NDArray[np.float32],
    keep: Any,
    step: Any,
) -> None:
    for d in range(len(p)):
        old_p, old_q, old_w = p[d], q_of[i, d], w[d]
        p[d] = keep * old_p + step * (old_w * old_q)
        q_of[i, d] = keep * old_q + step * (old_w * old_p)
        w[d] = old_w + step * (old_p * old_q)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _update(
    users: NDArray[np.int32],
    positives: NDArray[np.int32],
    negatives: NDArray[np.int32],
    user_embedding: NDArray[np.float32],
    item_embedding: NDArray[np.float32],
    item_bias: NDArray[np.float32],
    output_weight: NDArray[np.float32],
    output_bias: NDArray[np.float32],
    learning_rate: Any,
    l2: Any,
    learn_output_weight: bool,
    learn_item_bias: bool,
) -> float:
    """Updates on each sample in turn and returns the sum of their losses."""
    dim, n_negatives = user_embedding.shape[1], negatives.shape[1]
    user_rows, item_rows = user_embedding.reshape(-1), item_embedding.reshape(-1)
    upcoming = negatives.reshape(-1)
    keep = ONE - learning_rate * l2
    loss, odds = 0.0, 1.0  # the loss is `loss` + log `odds`
    p, w, b = np.empty(dim, np.float32), output_weight.copy(), output_bias[0]
    for g in range(len(users)):
        u = np.int64(users[g])
        if g + 2 < len(users):
            for d in range(0, dim, 16):  # 16 float32 are a cache line
                prefetch(user_rows, np.int64(users[g + 2]) * dim + d)
                prefetch(item_rows, np.int64(positives[g + 2]) * dim + d)
        for d in range(dim):
            p[d] = user_embedding[u, d]
        for n in range(1 + n_negatives):
            i = np.int64(positives[g] if n == 0 else negatives[g, n - 1])
            ahead = g * n_negatives + n + AHEAD
            if n > 0 and ahead < len(upcoming):
                for d in range(0, dim, 16):
                    prefetch(item_rows, np.int64(upcoming[ahead]) * dim + d)
            s = _logit(p, item_embedding, i, w, item_bias[i] + b)
            against = -s if n == 0 else s  # the logit of the wrong answer
            rate = learning_rate if n == 0 else -learning_rate
            # step = lr (y - sigmoid(s)); the sample's loss is log(1 + exp(against))
            if abs(against) < MAX_LOGIT:
                exp_against = _exp(against)
                step = rate * exp_against / (ONE + exp_against)
                odds *= 1.0 + exp_against
                if odds > 1e200:
                    loss += np.log(odds)
                    odds = 1.0
            elif against < 0:
                step = F(0)
            else:  # or NaN, which spreads to all that it meets
                step = rate if against > 0 else against
                loss += against
            if learn_output_weight:
                _update_all(p, item_embedding, i, w, keep, step)
            else:
                _update_rows(p, item_embedding, i, w, keep, step)
            b += step
            if learn_item_bias:
                item_bias[i] = keep * item_bias[i] + step
        for d in range(dim):
            user_embedding[u, d] = p[d]
    output_weight[:] = w
    output_bias[0] = b
    return float(loss + np.log(odds))
