"""The results of a search: confirmed trials, contestants, their metrics on test, the conclusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ncf.models.table import Setting, model_of
from ncf.protocol.metrics import Objective
from ncf.trials.messages import Outcome

if TYPE_CHECKING:  # it needs pandas and numba, which `status` does without
    from ncf.study.breakdown import Breakdown


@dataclass(frozen=True)
class Confirmed:
    """A trial's setting, trained again with fresh seeds.

    Attributes:
        number: The trial's number.
        setting: Its setting.
        outcomes: The outcome of each seed.
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
    """A setting that is fitted on train and validation and read on test.

    Attributes:
        name: The title of its model, "GMF", or the name of the baseline.
        number: The number in its record of the trial that found it.
        setting: Its setting.
        recorded: The setting as the record spells it.
        epochs: The number of epochs to train it for on train and validation; 0 for a baseline.
        validation: Its validation metrics on the sampled candidates.
        note: How it was found.
        n_settings: How many settings of its model were tried; 0 where that is not known.
        seed_values: The validation objective of each fresh seed that it was trained again with.
        is_trial: Whether it is the best trial of the study, and not one of the others.
    """

    name: str
    number: int
    setting: Setting
    recorded: dict[str, object]
    epochs: int
    validation: dict[str, float]
    note: str
    n_settings: int = 0
    seed_values: tuple[float, ...] = ()
    is_trial: bool = True

    @property
    def is_confirmed(self) -> bool:
        """Whether fresh seeds were tried, or could change nothing."""
        return len(self.seed_values) > 0 or not model_of(self.setting).is_seeded

    def value(self, objective: Objective) -> float:
        """Returns its validation objective: the mean over fresh seeds, where there are any."""
        if self.seed_values:
            return float(np.mean(self.seed_values))
        return objective.value(self.validation)


@dataclass(frozen=True)
class Result:
    """A contestant's metrics on test.

    Attributes:
        name: The contestant's name.
        setting: Its setting, as the record spells it.
        note: How it was found.
        validation: Metrics on the sampled validation candidates.
        test: Metrics on the sampled test candidates.
        test_full: Metrics over the full catalogue.
        intervals: Low and high end of the 95% interval over users, by test metric.
        difference: The winner's metric of the objective less this one's, on the sampled test
            candidates, as mean, low, high and p-value; None for the winner itself.
        difference_full: The same over the full catalogue; None also in records that were made
            before it was kept.
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
class Reading:
    """One time that a study read test.

    Attributes:
        at: When, in seconds since 1970.
        what: The contestants that were judged on it.
        why: What it was read for.
        digest: Tells this set of contestants from others.
    """

    at: float
    what: str
    why: str
    digest: str


def counted(n: int, noun: str) -> str:
    """Returns a number of things in words.

    >>> counted(1, "setting"), counted(1200, "setting")
    ('1 setting', '1,200 settings')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def in_words(at: float) -> str:
    """Returns a time as people write it.

    >>> in_words(0)
    '1970-01-01 00:00 UTC'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def read_before(readings: Sequence[Reading]) -> str:
    """Returns what is to be said of test where the last of two or more readings is this one."""
    times = ", ".join(in_words(one.at) for one in readings[:-1])
    return f"Test was read before, on {times}; this is reading {len(readings)} ({readings[-1].why})"


def readings_in_words(readings: Sequence[Reading]) -> str:
    """Returns all readings of test with their times, what was read and why."""
    return "; ".join(
        f"{number}: {in_words(one.at)}, {one.what}: {one.why}"
        for number, one in enumerate(readings, start=1)
    )


@dataclass(frozen=True)
class Conclusion:
    """The winner, the other contestants, and their results on test.

    Attributes:
        digest: The digest that tells this set of contestants from others.
        contestants: The winner, then the others, the best on validation first.
        results: Their results on test, in the same order.
        at: When test was read, in seconds since 1970.
        folder: The folder of the winner's weights and the ranks, until MLflow has them.
        readings: Each time that the study has read test, the first first.
        breakdown: The results in parts; None in records that were made before it was kept.
    """

    digest: str
    contestants: tuple[Contestant, ...]
    results: tuple[Result, ...]
    at: float
    folder: Path
    readings: tuple[Reading, ...] = ()
    breakdown: Breakdown | None = None

    @property
    def reading(self) -> str:
        """How test was read: "read once", or which reading of it this is."""
        return "read once" if len(self.readings) < 2 else f"reading {len(self.readings)}"

    @property
    def winner(self) -> Contestant:
        """The contestant that was chosen on validation, and is registered."""
        return self.contestants[0]

    @property
    def best_trial(self) -> Contestant:
        """The best of the study's own trials, which may be the winner."""
        return next(one for one in self.contestants if one.is_trial)
