"""What every reader of a file of ratings returns, and what is collected of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ncf.data.times import Times, in_words


@dataclass(frozen=True)
class Batch:
    """Some rows of a file."""

    path: Path
    columns: Mapping[str, pa.Array]
    """By role, each (rows,)."""
    place: Callable[[int], str]
    """Returns the place of a row in the file, such as "line 17"."""


@dataclass(frozen=True)
class Source:
    """A file whose columns are known, ready to be read."""

    places: Mapping[str, int]
    """Column index by role: "user", "item" and, where there is one, "rating", "timestamp" and
    "label"."""
    names: tuple[str, ...] | None
    """What the columns are called; None without a header."""
    is_typed: bool
    """Whether the file itself tells numbers from text, as parquet and JSON do."""
    notes: tuple[str, ...]
    """What a person should know of the layout that was found."""
    batches: Iterator[Batch]
    """The rows, read as they are asked for."""
    has_decimal_commas: bool = False
    """Whether a comma in a number may be a decimal one, as in 7,25."""


@dataclass
class Collected:
    """What has been read of a file, while it is read."""

    values: dict[str, list[Any]] = field(default_factory=dict)
    """Of the rows that are kept, by role, one array for each batch."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """By role, two different values of the file."""
    times: list[str] = field(default_factory=list)
    """The examples of the timestamps as dates."""
    labels: set[str] = field(default_factory=set)
    """The different values of the label column; only some where there are many."""
    n_rows: int = 0
    latest: int = 0
    """The latest time, in seconds since 1970."""
    lowest: float = math.inf
    highest: float = -math.inf
    are_signs: bool = True
    """Whether all ratings are -1, 0 or 1."""

    def take_examples(self, columns: Mapping[str, pa.Array], times: Times | None) -> None:
        """Keeps two different values of each column of the first batch."""
        for role, column in columns.items():
            found: dict[str, int] = {}
            for row, value in enumerate(column.slice(0, 1000).to_pylist()):
                found.setdefault(str(value), row)
            self.examples[role] = list(found)[:2]
            if role == "timestamp" and times is not None:
                seconds = np.asarray(times[list(found.values())[:2]], "datetime64[s]")
                self.times = [in_words(int(second)) for second in seconds.astype(np.int64)]
