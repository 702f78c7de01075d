"""Bootstrap intervals against scipy's, a loop that draws users one by one, and the truth."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ncf.protocol import intervals
from ncf.protocol.intervals import Difference, Interval, bootstrap_interval, paired_difference
from ncf.protocol.metrics import hit_ratio, ndcg

Metric: TypeAlias = Callable[[NDArray[np.int32], int], NDArray[np.float64]]


def ranks(n_users: int, seed: int, n_candidates: int = 40) -> NDArray[np.int32]:
    """Returns ranks of which a quarter is within 10."""
    return np.random.default_rng(seed).integers(1, n_candidates, n_users, dtype=np.int32)


def loop(values: NDArray[np.float64], n_resamples: int) -> NDArray[np.float64]:
    """Returns means of users drawn one by one with replacement."""
    rng = np.random.default_rng(99)
    means = []
    for _ in range(n_resamples):
        total = 0.0
        for user in rng.integers(0, len(values), len(values)):
            total += values[user]
        means.append(total / len(values))
    return np.array(means)


def standard_error(values: NDArray[np.float64]) -> float:
    return float(np.std(values) / math.sqrt(len(values)))


# An end of an interval of 10,000 resamples is uncertain by 3% of the standard error, see the
# module, one of 2,000 by 6%: four times the uncertainty of the difference of both.


@pytest.mark.parametrize("metric", [hit_ratio, ndcg])
def test_agrees_with_drawing_users_one_by_one(metric: Metric) -> None:
    values = metric(ranks(60, seed=1), 10)
    interval = bootstrap_interval(values, seed=2)
    expected = np.quantile(loop(values, 2_000), [0.025, 0.975])
    tolerance = 4 * math.hypot(0.03, 0.06) * standard_error(values) + 1 / 60  # a user is a step
    assert [interval.low, interval.high] == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("n_users", [50, 500, 6040])
def test_agrees_with_scipy(n_users: int) -> None:
    values = ndcg(ranks(n_users, seed=n_users), 10)
    interval = bootstrap_interval(values, seed=3)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=9_999, method="percentile", batch=100, rng=4
    ).confidence_interval
    assert interval.mean == pytest.approx(values.mean())
    tolerance = 4 * math.hypot(0.03, 0.03) * standard_error(values)
    assert interval.low == pytest.approx(expected.low, abs=tolerance)
    assert interval.high == pytest.approx(expected.high, abs=tolerance)


def test_a_resample_has_the_mean_and_spread_of_the_bootstrap() -> None:
    values = ndcg(ranks(200, seed=5), 10)
    mean, means = intervals._resample(values, seed=6)
    assert mean == pytest.approx(values.mean())
    assert means.mean() == pytest.approx(mean, abs=4 * standard_error(values) / 100)
    assert means.std() == pytest.approx(standard_error(values), rel=4 / math.sqrt(2 * 10_000))


def test_95_of_100_intervals_hold_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "N_RESAMPLES", 1_000)  # to take a second
    n_samples, n_users, everyone = 400, 300, np.arange(1, 41, dtype=np.int32)
    truth = ndcg(everyone, 10).mean()
    held = 0
    for seed in range(n_samples):
        interval = bootstrap_interval(ndcg(ranks(n_users, seed, 41), 10), seed)
        held += interval.low <= truth <= interval.high
    # 0.95 less what 300 users cost, and four standard errors of 400 samples
    assert held / n_samples == pytest.approx(0.95, abs=0.005 + 4 * math.sqrt(0.05 * 0.95 / 400))


def test_5_of_100_differences_of_nothing_are_significant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "N_RESAMPLES", 1_000)
    n_samples, n_users = 400, 300
    p_values = []
    for seed in range(n_samples):
        taste = np.random.default_rng(seed).integers(0, 20, n_users, dtype=np.int32)  # shared
        a = ndcg(ranks(n_users, 2 * seed, 20) + taste, 10)
        b = ndcg(ranks(n_users, 2 * seed + 1, 20) + taste, 10)
        p_values.append(paired_difference(a, b, seed).p_value)
    significant = np.mean(np.array(p_values) < 0.05)
    assert significant == pytest.approx(0.05, abs=0.005 + 4 * math.sqrt(0.05 * 0.95 / 400))
    assert stats.kstest(p_values, "uniform").pvalue > 1e-4


def test_a_p_value_agrees_with_the_t_test() -> None:
    rng = np.random.default_rng(8)
    for shift in (0.0, 0.02, 0.04, 0.06):
        a = ndcg(ranks(800, seed=9), 10)
        b = np.clip(a - rng.choice([0, 0.5, -0.5], 800, p=[0.6, 0.2 + shift, 0.2 - shift]), -1, 2)
        expected = stats.ttest_rel(a, b).pvalue
        found = paired_difference(a, b, seed=10).p_value
        assert found == pytest.approx(expected, abs=4 * math.sqrt(expected / 10_000) + 0.01)


def test_a_small_p_value_and_an_interval_without_zero_go_together() -> None:
    a = hit_ratio(ranks(1_000, seed=11), 10)
    b = a.copy()
    b[np.flatnonzero(a)[:30]] = 0  # 30 users lost, none won
    better, worse = paired_difference(a, b, seed=12), paired_difference(b, a, seed=12)
    assert better.mean == pytest.approx(0.03)
    assert better.low > 0
    assert worse.mean == -better.mean
    assert worse.high < 0
    assert better.p_value == worse.p_value == 1 / 10_001  # 30 of 30 is as far as can be told


def test_pairing_finds_what_two_intervals_do_not() -> None:
    b = ndcg(ranks(500, seed=13), 10)
    a = b + np.where(np.arange(500) % 4 == 0, 0.02, 0)
    apart = [bootstrap_interval(values, seed=14) for values in (a, b)]
    assert apart[0].low < apart[1].high
    assert paired_difference(a, b, seed=15).low > 0


def test_the_order_of_users_does_not_matter_and_the_seed_does() -> None:
    values = ndcg(ranks(300, seed=16), 10)
    assert bootstrap_interval(values, seed=17) == bootstrap_interval(values[::-1], seed=17)
    assert bootstrap_interval(values, seed=17) != bootstrap_interval(values, seed=18)
    spawned = np.random.SeedSequence(1, spawn_key=(2,))
    assert bootstrap_interval(values, spawned) == bootstrap_interval(values, spawned)


def test_blocks_of_any_size_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(19).random(40)  # as many values as users
    whole = bootstrap_interval(values, seed=20)
    monkeypatch.setattr(intervals, "BLOCK_BYTES", 16 * 40 * 777)
    parts = bootstrap_interval(values, seed=20)
    assert [parts.low, parts.high] == pytest.approx([whole.low, whole.high])


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1 / math.log2(3)])
@pytest.mark.parametrize("n_users", [1, 2, 943])
def test_equal_values_have_an_interval_of_no_width(value: float, n_users: int) -> None:
    values = np.full(n_users, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interval = bootstrap_interval(values, seed=21)
        difference = paired_difference(values, values, seed=21)
    assert interval.mean == interval.low == interval.high == pytest.approx(value)
    assert difference == Difference(0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(("n_users", "p_value"), [(1, 1), (2, 0.5), (5, 1 / 16), (50, 1 / 10_001)])
def test_few_users_cannot_be_sure(n_users: int, p_value: float) -> None:
    difference = paired_difference(np.ones(n_users), np.zeros(n_users), seed=22)
    assert difference == Difference(1.0, 1.0, 1.0, p_value)


def test_what_is_no_metric_of_users_is_refused() -> None:
    with pytest.raises(ValueError, match=r"finite values of at least one user must be given"):
        bootstrap_interval(np.array([]), seed=1)
    with pytest.raises(ValueError, match=r"got 3 of shape \(3,\), 2 not finite"):
        bootstrap_interval(np.array([1.0, math.nan, math.inf]), seed=1)
    with pytest.raises(ValueError, match=r"of the same users, got shapes \(2,\) and \(3,\)"):
        paired_difference(np.ones(2), np.ones(3), seed=1)
    assert bootstrap_interval(np.array([0.0, 1.0]), seed=1) == Interval(0.5, 0.0, 1.0)
