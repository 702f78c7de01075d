"""Thresholds by hand, and decisions against Optuna's `MedianPruner`."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from ncf.study.pruning import N_STARTUP_TRIALS, WARMUP_EPOCHS, stopping_thresholds

NEVER = -math.inf


def test_by_hand() -> None:
    curves = [
        [0.10, 0.20, 0.30, 0.40],
        [0.20, 0.10, 0.35, 0.30],  # the best so far counts: 0.20, 0.20, 0.35, 0.35
        [0.30, 0.50],  # stays at its best: 0.30, 0.50, 0.50, 0.50
        [0.05, 0.15, 0.10, 0.10],  # 0.05, 0.15, 0.15, 0.15
        [0.00, 0.30, 0.32, 0.20],  # 0.00, 0.30, 0.32, 0.32
    ]
    assert stopping_thresholds(curves, 4, warmup_epochs=1) == (NEVER, 0.20, 0.32, 0.35)


def test_an_even_number_of_curves_has_the_mean_of_the_middle_two() -> None:
    curves = [[0.0, value] for value in (0.1, 0.2, 0.3, 0.5, 0.6, 0.7)]
    assert stopping_thresholds(curves, 2, warmup_epochs=1)[1] == pytest.approx(0.4)


def test_nothing_is_stopped_before_there_are_enough_trials() -> None:
    curves = [[0.5] * 6] * N_STARTUP_TRIALS
    assert stopping_thresholds(curves[1:], 6) == (NEVER,) * 6
    assert stopping_thresholds([], 3) == (NEVER,) * 3
    assert stopping_thresholds(curves, 6) != (NEVER,) * 6


def test_nothing_is_stopped_in_the_warm_up() -> None:
    thresholds = stopping_thresholds([[0.5] * 6] * N_STARTUP_TRIALS, 6)
    assert thresholds[:WARMUP_EPOCHS] == (NEVER,) * WARMUP_EPOCHS
    assert thresholds[WARMUP_EPOCHS:] == (0.5,) * (6 - WARMUP_EPOCHS)


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_there_is_a_threshold_for_every_epoch_whatever_the_curves_lengths(epochs: int) -> None:
    curves = [[0.1] * n for n in (1, 2, 3, 9, 20)]
    thresholds = stopping_thresholds(curves, epochs)
    assert len(thresholds) == epochs
    assert all(type(threshold) is float for threshold in thresholds)


def test_the_rules_numbers_can_be_given() -> None:
    """As the script that chose the defaults does."""
    curves = [[0.1, 0.2, 0.3], [0.3, 0.4, 0.5], [0.2, 0.3, 0.4]]
    thresholds = stopping_thresholds(
        curves, 3, n_startup_trials=3, warmup_epochs=2, percentile=100.0
    )
    assert thresholds == (NEVER, NEVER, 0.5)
    assert stopping_thresholds(curves, 3, n_startup_trials=4) == (NEVER,) * 3


def optuna_stops_at(curves: NDArray[np.float64], new: NDArray[np.float64]) -> int | None:
    """Returns the epoch after which `MedianPruner` stops the new curve."""
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=N_STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS + 1
    )
    study = optuna.create_study(direction="maximize", pruner=pruner)
    distributions = {"x": FloatDistribution(0, 1)}
    for curve in curves:
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE, value=max(curve), params={"x": 0.5},
                distributions=dict(distributions),
                intermediate_values=dict(enumerate(curve.tolist(), start=1)),
            )
        )  # fmt: skip
    trial = study.ask()
    for epoch, value in enumerate(new.tolist(), start=1):
        trial.report(value, epoch)
        if trial.should_prune():
            return epoch
    return None


@pytest.mark.parametrize("n_curves", [N_STARTUP_TRIALS - 1, N_STARTUP_TRIALS, 8, 11])
def test_decides_as_optuna_where_curves_are_whole_and_rise(n_curves: int) -> None:
    """There the two rules are one: Optuna compares with the others' values, not with their bests.

    The new curve may fall: its best so far counts in both.
    """
    decisions = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        epochs = 8
        curves = np.cumsum(rng.random((n_curves, epochs)), axis=1)
        new = np.cumsum(rng.normal(0.45, 0.8, epochs)) + 0.6
        thresholds = stopping_thresholds(curves.tolist(), epochs)
        best = np.maximum.accumulate(new)
        ours = next((e for e in range(1, epochs + 1) if best[e - 1] < thresholds[e - 1]), None)
        assert ours == optuna_stops_at(curves, new)
        decisions.add(ours)
    if n_curves < N_STARTUP_TRIALS:
        assert decisions == {None}
    else:
        assert len(decisions) >= 3  # stopped early, stopped late and not stopped
        assert None in decisions
