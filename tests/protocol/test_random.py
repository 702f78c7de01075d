"""The compiled random numbers."""

from __future__ import annotations

import numpy as np
from scipy.stats import chisquare

from ncf.protocol.random import shuffle


def test_shuffle_is_a_uniform_permutation() -> None:
    seen = np.zeros(6, np.int64)
    for seed in range(6000):
        values = np.arange(3)
        shuffle(values, seed)
        assert sorted(values.tolist()) == [0, 1, 2]
        seen[values[0] * 2 + (values[1] > values[2])] += 1
    assert chisquare(seen).pvalue > 0.001
