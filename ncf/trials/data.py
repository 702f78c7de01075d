"""The data of a trial, without any test item: written once, and mapped into memory by workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncf.protocol.ranks import some_users
from ncf.protocol.splitting import HeldOut, History, append

_NAMES = ("indptr", "items", "by_time", "n_items", "users", "positives", "candidates")
_OF_PERIOD = ("period_users", "period_items")  # only where there is a period


@dataclass(frozen=True)
class TrialData:
    """All the data that a trial sees.

    Attributes:
        train: The interactions to train on.
        validation: The held-out items to judge by, V of them.
        candidates: The candidates of the validation items, (V, C).
        starts: The folder where the trials of a search keep spectral starts for one another; None
            where each computes its own.
        period: All interactions of the period of validation, where `validation` is only some of
            them; None where they are `validation`.
    """

    train: History
    validation: HeldOut
    candidates: NDArray[np.int32]
    starts: Path | None = None
    period: HeldOut | None = None

    @property
    def until_test(self) -> History:
        """Train and all of validation, which the winner is fitted on."""
        return append(self.train, self.period or self.validation)

    @cached_property
    def seen(self) -> History:
        """What does not compete with a validation item over the full catalogue."""
        return self.train if self.period is None else self.until_test

    @cached_property
    def some(self) -> HeldOut:
        """Those for which an epoch ranks the full catalogue, where a study draws no sample."""
        return some_users(self.validation)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that it is made of, by name, which `of` takes."""
        arrays: dict[str, NDArray[Any]] = {
            "indptr": self.train.indptr,
            "items": self.train.items,
            "by_time": self.train.items if self.train.by_time is None else self.train.by_time,
            "n_items": np.array(self.train.n_items),
            "users": self.validation.users,
            "positives": self.validation.items,
            "candidates": self.candidates,
        }
        if self.period is not None:
            arrays |= {"period_users": self.period.users, "period_items": self.period.items}
        return arrays

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], starts: Path) -> TrialData:
        """Returns the data that are made of these arrays, without a copy of them."""
        train = History(
            arrays["indptr"], arrays["items"], int(arrays["n_items"]), arrays["by_time"]
        )
        validation = HeldOut(arrays["users"], arrays["positives"])
        period = None
        if "period_users" in arrays:
            period = HeldOut(arrays["period_users"], arrays["period_items"])
        return cls(train, validation, arrays["candidates"], starts, period)

    def save(self, folder: Path) -> None:
        """Writes one array per file, for `load` in any number of processes."""
        for name, array in self.arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> TrialData:
        """Maps the arrays of `save` into memory, so that all processes share one copy of them."""
        names = [*_NAMES, *(_OF_PERIOD if (folder / f"{_OF_PERIOD[0]}.npy").exists() else ())]
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in names
        }
        return cls.of(arrays, folder)
