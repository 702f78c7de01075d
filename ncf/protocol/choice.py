"""Which split a study has: leave-one-out, by time, or the one that its data come with.

The first two are options, and the third is what a ready-made data set decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ncf.data.interactions import Interactions
from ncf.data.times import in_words
from ncf.protocol.given_split import load_ready_made
from ncf.protocol.splitting import Split, leave_one_out
from ncf.protocol.time_split import QUANTILES, TARGETS, cuts_of, split_by_time

_TARGETS_IN_WORDS = {
    "last": "each user's last item of a period",
    "first": "each user's first item of a period",
    "all": "all items of a period, the mean over a user's first",
}


@dataclass(frozen=True)
class SplitChoice:
    """What the options `--split` and `--targets` say.

    Attributes:
        quantiles: Where the two cuts of a split by time are; None for leave-one-out.
        targets: Which of a user's items a split by time holds out: "last", "first" or "all".
    """

    quantiles: tuple[float, float] | None = None
    targets: str = "last"

    @property
    def option(self) -> str:
        """The value of `--split` that says the same."""
        if self.quantiles is None:
            return "leave-one-out"
        return f"time:{self.quantiles[0]!r},{self.quantiles[1]!r}"


@dataclass(frozen=True)
class SplitData:
    """A data set that is split.

    Attributes:
        interactions: Its interactions.
        split: Train, validation and test.
        protocol: How they were split, in a few words, which tell one protocol from another.
        test_candidates: The candidates of the test items, (V, C), where they come with the data;
            None where they are to be drawn.
    """

    interactions: Interactions
    split: Split
    protocol: str
    test_candidates: NDArray[np.int32] | None = None


def parse_split(split: str = "leave-one-out", targets: str | None = None) -> SplitChoice:
    """Returns the choice that `--split` and `--targets` make.

    Raises:
        ValueError: A value breaks a rule.

    >>> parse_split("time:0.8,0.9", "all")
    SplitChoice(quantiles=(0.8, 0.9), targets='all')
    """
    kind, _, cuts = split.partition(":")
    if kind == "leave-one-out" and not cuts:
        if targets is not None:
            raise ValueError(
                f"--targets {targets}: leave-one-out holds out each user's latest item; give "
                "--targets with --split time"
            )
        return SplitChoice()
    try:
        first, second = map(float, cuts.split(",")) if cuts else QUANTILES
    except ValueError:
        first = second = math.nan
    if kind != "time" or not 0 < first < second < 1:
        raise ValueError(
            f"--split {split}: must be leave-one-out, time, or time:A,B with the shares of the "
            "interactions that come before validation and before test, 0 < A < B < 1, as in "
            "time:0.9,0.95"
        )
    if targets is not None and targets not in TARGETS:
        raise ValueError(f"--targets {targets}: known are {', '.join(TARGETS)}")
    return SplitChoice((first, second), targets or "last")


def split_as(choice: SplitChoice, interactions: Interactions) -> SplitData:
    """Splits a data set that comes without a split.

    Raises:
        ValueError: The data break a rule of the split.
    """
    if choice.quantiles is None:
        order = "time" if interactions.has_times else "file order"
        return SplitData(interactions, leave_one_out(interactions), f"leave-one-out by {order}")
    cuts = " and ".join(map(in_words, cuts_of(interactions, choice.quantiles)))
    protocol = (
        f"by time, cut at {cuts} UTC (quantiles {choice.quantiles[0]:g} and "
        f"{choice.quantiles[1]:g}), {_TARGETS_IN_WORDS[choice.targets]}"
    )
    return SplitData(
        interactions, split_by_time(interactions, choice.quantiles, choice.targets), protocol
    )


def read_given(train_file: Path, choice: SplitChoice, is_read_otherwise: bool) -> SplitData:
    """Reads a data set with the split that it comes with, which is taken as it is.

    Args:
        train_file: Its train file.
        choice: The split that a person has asked for.
        is_read_otherwise: Whether a person has asked for other columns or for some of the rows.

    Raises:
        ValueError: A person has asked for something else, or a file breaks a rule.
    """
    if is_read_otherwise or choice != SplitChoice():
        raise ValueError(
            f"{train_file}: a ready-made split is taken as it is; leave out --columns, "
            "--min-rating, --drop-empty and --split"
        )
    given = load_ready_made(train_file)
    protocol = (
        f"ready-made split, {given.test_candidates.shape[1] - 1} test negatives given "
        f"({given.n_dropped} dropped: candidates are distinct)"
    )
    return SplitData(given.interactions, given.split, protocol, given.test_candidates)
