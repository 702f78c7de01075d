"""When to stop a trial early: the median stopping rule (Golovin et al., "Google Vizier", KDD 2017).

A trial stops after epoch e if its best objective so far is below the given percentile of the best
that earlier trials had reached by epoch e. For trial t, these are the trials up to t - lag (see
`proposals.py`), all of which have ended when t starts. So the rule is a row of thresholds that is
known at the start. The worker applies it by itself, and it is the same in any order of events.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Chosen by experiments/benchmarks/choose_pruner.py on GMF with recent items: on ml-100k (50 trials,
# 3 study seeds) the rule trained 44% of all epochs, and came to the same three winners as patience
# alone, which trained 51%: 0.5443 over fresh seeds (sd between studies 0.002). With every epoch
# trained it was 0.5481; the confirmed winner of the command, which may be the defaults, has 0.5470.
N_STARTUP_TRIALS = 5
WARMUP_EPOCHS = 3
PERCENTILE = 50.0


def stopping_thresholds(
    curves: Sequence[Sequence[float]],
    epochs: int,
    *,
    n_startup_trials: int = N_STARTUP_TRIALS,
    warmup_epochs: int = WARMUP_EPOCHS,
    percentile: float = PERCENTILE,
) -> tuple[float, ...]:
    """Returns the objective below which to stop after each epoch, (epochs,); -inf means never.

    Args:
        curves: The objective after each epoch of each trained trial; a curve that ended early
            counts as staying at its best.
        epochs: The most epochs of a trial.
        n_startup_trials: The number of trained trials below which no trial is stopped.
        warmup_epochs: The number of first epochs after which no trial is stopped.
        percentile: The percentile of the trials' best values by the same epoch.
    """
    best = np.empty((epochs, len(curves)))
    for place, curve in enumerate(curves):
        best[:, place] = _best_so_far(curve, epochs)
    return _thresholds(best, n_startup_trials, warmup_epochs, percentile)


class Curves:
    """The learning curves of a record's trials, by number, for the thresholds of the next trials.

    It gives what `stopping_thresholds` gives, in a record of thousands of trials sooner.
    """

    def __init__(self, epochs: int) -> None:
        """Begins without a trial.

        Args:
            epochs: The most epochs of a trial.
        """
        self._best = np.empty((epochs, 64))  # by each epoch of each trained trial, and room
        self._n_trained = [0]  # among the first 0, 1, 2, ... trials

    def __len__(self) -> int:
        """The number of trials."""
        return len(self._n_trained) - 1

    def append(self, curve: Sequence[float]) -> None:
        """Adds a trial's objective after each epoch; none where it was not trained."""
        n = self._n_trained[-1]
        if curve:
            if n == self._best.shape[1]:
                self._best = np.hstack([self._best, np.empty_like(self._best)])
            self._best[:, n] = _best_so_far(curve, len(self._best))
        self._n_trained.append(n + bool(curve))

    def thresholds(self, n_trials: int) -> tuple[float, ...]:
        """Returns the thresholds by the first `n_trials` trials."""
        known = self._best[:, : self._n_trained[n_trials]]
        return _thresholds(known, N_STARTUP_TRIALS, WARMUP_EPOCHS, PERCENTILE)


def _best_so_far(curve: Sequence[float], epochs: int) -> NDArray[np.float64]:
    """Returns the best objective by each epoch, (epochs,)."""
    values = np.full(epochs, -math.inf)
    values[: len(curve)] = curve[:epochs]
    return np.maximum.accumulate(values)


def _thresholds(
    best: NDArray[np.float64], n_startup_trials: int, warmup_epochs: int, percentile: float
) -> tuple[float, ...]:
    """Returns the thresholds, given the best of each trained trial by each epoch, (epochs, n)."""
    if best.shape[1] < n_startup_trials:
        return (-math.inf,) * len(best)
    thresholds = np.percentile(best, percentile, axis=1)
    thresholds[:warmup_epochs] = -math.inf
    return tuple(float(threshold) for threshold in thresholds)
