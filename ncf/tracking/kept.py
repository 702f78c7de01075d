"""Which trials' models MLflow is given: all of a small study, those of the best of a big one.

A model that is not kept can be made again from its trial's run, bit for bit on one machine, so that
little is lost, and MLflow has less than half of the work.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SMALL = 100  # trials of a study that keeps all models, where nothing else is asked for
USUAL = 10  # models that a bigger study keeps at least


class Kept:
    """The trials whose models are kept: of those that have ended so far, the best."""

    def __init__(self, asked: int | None, n_trials: int) -> None:
        """Begins without a trial.

        Args:
            asked: How many of the best are kept; None means all of a small study.
            n_trials: The trials that the study has in the end; so many kept means all.
        """
        usual = n_trials if n_trials <= SMALL else USUAL
        self._n = usual if asked is None else asked
        self._are_all = self._n >= n_trials
        self._finished: list[tuple[float, int]] = []  # the best first

    def note(self, trial: FrozenTrial) -> None:
        """Notes an ended trial; one that was pruned or failed is none of the best."""
        if trial.value is not None and trial.state.name == "COMPLETE":
            insort(self._finished, (-trial.value, trial.number))
            del self._finished[self._n :]

    def has(self, number: int) -> bool:
        """Returns whether a trial's model is kept, as far as trials have ended."""
        return self._are_all or any(number == one for _, one in self._finished)
