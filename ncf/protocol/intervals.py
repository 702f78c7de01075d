"""How sure a mean over users is: bootstrap intervals and paired differences.

V users are drawn with replacement R times, and the mean is taken each time (Efron & Tibshirani,
"An Introduction to the Bootstrap", 1993, chapters 13 and 16):

    low, high = the 2.5 % and 97.5 % quantiles of the R means
    p_value   = (1 + #{|m* - m| >= |m|}) / (R + 1)     m the mean difference, m* a resampled one

A comparison is paired: a user is drawn with both of their values, since users differ far more than
scorers do. The p-value is two-sided, and never below 2^(1 - V), the chance that V users all lean to
one side: with one user nothing can be told, and it is 1.

Users with equal values are exchangeable, so a resample is one multinomial draw of how many users
have each value. That is the same distribution as drawing users one by one, at a cost of the number
of values in place of users: a metric at k has k + 1 values, a difference of two (k + 1)^2 at most.

R = 10,000 leaves an end of the interval uncertain by 3 % of the standard error, sqrt(q (1 - q) / R)
over the normal density at the quantile q, which is less than the digits shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 10_000
CONFIDENCE = 0.95

BLOCK_BYTES = 32 << 20  # counts of a block of resamples


SMALLEST_P = 1 / (N_RESAMPLES + 1)  # of a comparison: it may be smaller, which cannot be told


@dataclass(frozen=True)
class Interval:
    """A mean over users and its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A mean difference over users, its 95% interval, and the p-value of "no difference"."""

    mean: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(values: NDArray[np.float64], seed: int | np.random.SeedSequence) -> Interval:
    """Returns the mean of users' values (V,) and its interval, of width 0 where all are equal.

    Raises:
        ValueError: No values, or a value that is not finite.
    """
    mean, means = _resample(values, seed)
    low, high = _ends(means)
    return Interval(mean, low, high)


def paired_difference(
    a: NDArray[np.float64], b: NDArray[np.float64], seed: int | np.random.SeedSequence
) -> Difference:
    """Returns the mean of a - b over the same users in the same order, both (V,).

    Raises:
        ValueError: Unequal lengths, no values, or a value that is not finite.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"paired values must be of the same users, got shapes {a.shape} and {b.shape}; "
            "compare scorers on one split and one set of candidates"
        )
    mean, means = _resample(a - b, seed)
    low, high = _ends(means)
    # sums of the same numbers in another order may differ in their last bits
    is_as_far = np.abs(means - mean) >= abs(mean) * (1 - 1e-9)
    p_value = (1 + int(np.count_nonzero(is_as_far))) / (N_RESAMPLES + 1)
    return Difference(mean, low, high, max(p_value, 2.0 ** (1 - len(a))))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the p-values of several comparisons, corrected for their number (Holm, 1979).

    Whoever makes m comparisons finds something by chance more often. The i-th smallest p-value is
    multiplied by m - i + 1, and is at least what the ones before it became, and at most 1. Of all
    whose corrected value is below 0.05 the chance that even one is false is below 0.05.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    ascending = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for n_before, index in enumerate(ascending):
        largest = max(largest, p_values[index] * (len(p_values) - n_before))
        corrected[index] = min(1.0, largest)
    return corrected


def _resample(
    values: NDArray[np.float64], seed: int | np.random.SeedSequence
) -> tuple[float, NDArray[np.float64]]:
    """Returns the mean of values (V,) and the means (R,) of resamples of them."""
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"finite values of at least one user must be given, one each, got {values.size} of "
            f"shape {values.shape}, {int(np.count_nonzero(~np.isfinite(values)))} not finite"
        )
    levels, counts = np.unique(values, return_counts=True)
    rng, n_users = np.random.default_rng(seed), len(values)
    means = np.empty(N_RESAMPLES)
    block = max(1, BLOCK_BYTES // (16 * len(levels)))
    for start in range(0, N_RESAMPLES, block):
        part = means[start : start + block]
        drawn = rng.multinomial(n_users, counts / n_users, size=len(part))
        part[:] = (drawn @ levels) / n_users
    return float((counts @ levels) / n_users), means


def _ends(means: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
