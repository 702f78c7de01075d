"""The compiled loop of `sgd.py`: one update after another, on parameters in place.

The loss is exact but for rounding: -log of a product of probabilities, one logarithm for hundreds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ncf.models.prefetch import prefetch

AHEAD = 8  # negatives between the request for an item's row and its use

F = np.float32
ONE = F(1)
MAX_LOGIT = F(80)  # beyond it exp leaves float32's range, and a sigmoid is 0 or 1 in float32


class Parameters(NamedTuple):
    """What is trained; a tuple, since compiled code takes one as it is.

    Shapes: user_embedding (U, D), item_embedding (I, D + D2), item_bias (I,),
    output_weight (D + D2,), output_bias (1,), recent_embedding (I, D2), with D2 = 0 where there is
    no recent block. All are float32.
    """

    user_embedding: NDArray[np.float32]
    item_embedding: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    output_weight: NDArray[np.float32]
    output_bias: NDArray[np.float32]
    recent_embedding: NDArray[np.float32]


class Samples(NamedTuple):
    """A block of an epoch.

    Shapes: users (B,), the positive of each (B,), their negatives (B, N), and recents (B, L): the
    user's items before the positive, latest first, -1 where there are fewer.
    """

    users: NDArray[np.int32]
    positives: NDArray[np.int32]
    negatives: NDArray[np.int32]
    recents: NDArray[np.int32]


# The kernel's parts differ in what the compiler may do to their arithmetic. Sums in another order
# ("reassoc") let it use vectors; in `_exp` they would undo the rounding trick, and in the updates
# they would lengthen the chain of operations from one sample to the next. NaN and infinity keep
# their meaning everywhere.


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _logit(
    p: NDArray[np.float32], q_rows: NDArray[np.float32], i: Any, w: NDArray[np.float32], biases: Any
) -> Any:
    s = biases
    for d in range(len(p)):
        s += p[d] * (w[d] * q_rows[i, d])
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
    q_rows: NDArray[np.float32],
    i: Any,
    w: NDArray[np.float32],
    keep: Any,
    step: Any,
) -> None:
    for d in range(len(p)):
        old_p, old_q = p[d], q_rows[i, d]
        p[d] = keep * old_p + step * (w[d] * old_q)
        q_rows[i, d] = keep * old_q + step * (w[d] * old_p)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _update_all(
    p: NDArray[np.float32],
    q_rows: NDArray[np.float32],
    i: Any,
    w: NDArray[np.float32],
    keep: Any,
    step: Any,
) -> None:
    for d in range(len(p)):
        old_p, old_q, old_w = p[d], q_rows[i, d], w[d]
        p[d] = keep * old_p + step * (old_w * old_q)
        q_rows[i, d] = keep * old_q + step * (old_w * old_p)
        w[d] = old_w + step * (old_p * old_q)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _gather(
    rows: NDArray[np.float32],
    recents: NDArray[np.int32],
    weights: NDArray[np.float32],
    x: NDArray[np.float32],
) -> None:
    """Makes x the weighted sum of the rows of the recent items."""
    for d in range(len(x)):
        x[d] = 0
    for a in range(len(recents)):
        j, weight = np.int64(recents[a]), weights[a]
        if j < 0:
            break
        for d in range(len(x)):
            x[d] += weight * rows[j, d]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _scatter(
    rows: NDArray[np.float32],
    recents: NDArray[np.int32],
    weights: NDArray[np.float32],
    change: NDArray[np.float32],
) -> None:
    """Gives each row of the recent items its share of how x has changed."""
    for a in range(len(recents)):
        j, weight = np.int64(recents[a]), weights[a]
        if j < 0:
            break
        for d in range(len(change)):
            rows[j, d] += weight * change[d]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def update(
    samples: Samples,
    parameters: Parameters,
    recent_weights: NDArray[np.float32],
    learning_rate: Any,
    weight_decay: Any,
    learn_output_weight: bool,
    learn_item_bias: bool,
) -> float:
    """Updates on each sample in turn and returns the sum of their losses."""
    users, positives, negatives, recents = samples
    user_embedding, item_embedding, item_bias, output_weight, output_bias, recent_embedding = (
        parameters
    )
    user_dim, dim, n_negatives = user_embedding.shape[1], len(output_weight), negatives.shape[1]
    user_rows = user_embedding.reshape(-1)
    item_rows = item_embedding.reshape(-1)
    recent_rows = recent_embedding.reshape(-1)
    recent_dim = recent_embedding.shape[1]
    x_start = np.empty(recent_dim, np.float32)
    upcoming = negatives.reshape(-1)
    keep = ONE - learning_rate * weight_decay
    loss, odds = 0.0, 1.0  # the loss is `loss` + log `odds`
    p, w, b = np.empty(dim, np.float32), output_weight.copy(), output_bias[0]
    for g in range(len(users)):
        u = np.int64(users[g])
        if g + 2 < len(users):
            for d in range(0, user_dim, 16):  # 16 float32 are a cache line
                prefetch(user_rows, np.int64(users[g + 2]) * user_dim + d)
            for d in range(0, dim, 16):
                prefetch(item_rows, np.int64(positives[g + 2]) * dim + d)
            prefetch(item_bias, np.int64(positives[g + 2]))
            for a in range(recents.shape[1]):
                j = np.int64(recents[g + 2, a])
                for d in range(0, recent_dim if j >= 0 else 0, 16):
                    prefetch(recent_rows, j * recent_dim + d)
        for d in range(user_dim):
            p[d] = user_embedding[u, d]
        x = p[user_dim:]  # the user's vector is their own factors, then those of their last items
        if recent_dim:
            _gather(recent_embedding, recents[g], recent_weights, x)
            x_start[:] = x
        for n in range(1 + n_negatives):
            i = np.int64(positives[g] if n == 0 else negatives[g, n - 1])
            ahead = g * n_negatives + n + AHEAD
            if n > 0 and ahead < len(upcoming):
                for d in range(0, dim, 16):
                    prefetch(item_rows, np.int64(upcoming[ahead]) * dim + d)
                prefetch(item_bias, np.int64(upcoming[ahead]))
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
        for d in range(user_dim):
            user_embedding[u, d] = p[d]
        if recent_dim:
            for d in range(recent_dim):
                x_start[d] = x[d] - x_start[d]
            _scatter(recent_embedding, recents[g], recent_weights, x_start)
    output_weight[:] = w
    output_bias[0] = b
    return float(loss + np.log(odds))
