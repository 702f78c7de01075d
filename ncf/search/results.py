"""What a search comes to: confirmed trials, contestants, their results on test, the conclusion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ncf.models.table import Setting
from ncf.trials.messages import Outcome


@dataclass(frozen=True)
class Confirmed:
    """A trial's setting, trained again with other seeds.

    Attributes:
        number: The trial's number.
        setting: Its setting.
        outcomes: What came of each seed.
        values: The objective of each seed.
    """

    number: int
    setting: Setting
    outcomes: tuple[Outcome, ...]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean objective."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float:
        """The standard deviation of the objective over seeds; NaN for a single seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")

    @property
    def best_epoch(self) -> int:
        """The median best epoch."""
        return round(float(np.median([outcome.best_epoch for outcome in self.outcomes])))


@dataclass(frozen=True)
class Contestant:
    """One setting that goes to test.

    Attributes:
        name: The title of its model: "GMF", or the baseline's name.
        number: The trial that found it, in its own record.
        setting: Its setting.
        recorded: The setting as the record spells it.
        epochs: Epochs to train it for on train and validation.
        validation: Its validation metrics on the sampled candidates.
        note: How it was found.
        n_settings: How many settings of its model were tried; 0 where that is not known.
    """

    name: str
    number: int
    setting: Setting
    recorded: dict[str, object]
    epochs: int
    validation: dict[str, float]
    note: str
    n_settings: int = 0


@dataclass(frozen=True)
class Result:
    """What a contestant came to on test.

    Attributes:
        name: The contestant's name.
        setting: Its setting, as the record spells it.
        note: How it was found.
        validation: Metrics on the sampled validation candidates.
        test: Metrics on the sampled test candidates.
        test_full: Metrics over the full catalogue.
        intervals: 95% intervals over users of the test metrics, by metric: low and high.
        difference: The winner's test objective less this one's: mean, low, high, p-value; None for
            the winner itself.
        difference_full: The same over the full catalogue; None also in records of before it was
            kept.
    """

    name: str
    setting: dict[str, object]
    note: str
    validation: dict[str, float]
    test: dict[str, float]
    test_full: dict[str, float]
    intervals: dict[str, list[float]]
    difference: list[float] | None
    difference_full: list[float] | None = None


@dataclass(frozen=True)
class Conclusion:
    """What a study ended with.

    Attributes:
        digest: Tells this set of contestants from others.
        contestants: The winner, then the baselines.
        results: Their results on test, in the same order.
        at: When test was read, in seconds since 1970.
        value: The objective by which the winner was chosen.
        is_confirmed: Whether that is a mean over fresh seeds.
        folder: Holds the winner's weights and the ranks until MLflow has them.
        seed_values: The validation objective of each fresh seed of the winner.
    """

    digest: str
    contestants: tuple[Contestant, ...]
    results: tuple[Result, ...]
    at: float
    value: float
    is_confirmed: bool
    folder: Path
    seed_values: tuple[float, ...] = ()

    @property
    def winner(self) -> Contestant:
        """The contestant that was chosen on validation."""
        return self.contestants[0]
