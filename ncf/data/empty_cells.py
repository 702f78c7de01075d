"""Rows of a file in which a cell is empty: counted, and left out where a person asks for it.

A cell is empty where the file has nothing or only blanks, or not-a-number in a column of floats,
which is how pandas writes nothing. Words such as NULL are values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ncf.data.columns import ROLES
from ncf.data.ids import BLANKS
from ncf.data.sources import Batch
from ncf.data.streams import DAMAGED


@dataclass
class EmptyCells:
    """How many rows have an empty user, item, rating or time, counted while a file is read."""

    n_rows: int = 0
    by_role: Counter[str] = field(default_factory=Counter)
    """In how many rows the cell of a role is empty; a row may count for several roles."""

    @property
    def columns(self) -> str:
        """In how many rows which cells are empty, as a part of a sentence."""
        return ", ".join(
            f"{role} in {self.by_role[role]:,}" for role in ROLES if self.by_role[role]
        )

    def in_words(self, n_rows: int) -> str:
        """Returns how many of a file's rows were left out, as a line for a person to read."""
        where = f", with an empty {self.columns}" if self.n_rows else ""
        return f"left out by --drop-empty: {self.n_rows:,} of {n_rows:,} rows{where}"

    def count(self, batches: Iterable[Batch]) -> None:
        """Counts the rows of batches."""
        for batch in batches:
            self._empty(batch)

    def leave_out(self, batch: Batch) -> Batch:
        """Counts the rows of a batch, and returns those of them in which no cell is empty."""
        is_empty = self._empty(batch)
        if not is_empty.any():
            return batch
        kept = np.flatnonzero(~is_empty)
        columns = {role: _taken(column, kept) for role, column in batch.columns.items()}
        return Batch(batch.path, columns, lambda row: batch.place(int(kept[row])))

    def _empty(self, batch: Batch) -> NDArray[np.bool_]:
        """Counts the rows of a batch; returns in which of them a cell is empty, (rows,)."""
        found = np.zeros(len(batch.columns["user"]), np.bool_)
        for role in ROLES:
            if role in batch.columns:
                is_empty = are_empty(batch.columns[role])
                self.by_role[role] += int(np.count_nonzero(is_empty))
                found |= is_empty
        self.n_rows += int(np.count_nonzero(found))
        return found


def rule_of_empty(batches: Iterable[Batch]) -> str:
    """Returns the rule that an empty cell breaks, given the rows from its batch to the last.

    What breaks a rule in a later batch does not hide this one; the rows are counted up to there.
    """
    found = EmptyCells()
    least = ""
    try:
        found.count(batches)
    except (ValueError, *DAMAGED):
        least = "at least "
    rows = "row has an empty cell" if found.n_rows == 1 else "rows have an empty cell"
    return (
        f"must not be empty; {least}{found.n_rows:,} {rows} ({found.columns}): correct them, or "
        "leave such rows out by --drop-empty"
    )


def are_empty(column: pa.Array) -> NDArray[np.bool_]:
    """Returns which cells of a column are empty, (rows,)."""
    if pa.types.is_dictionary(column.type):
        has_none = _numpy(column.indices.is_null())
        if not len(column.dictionary):
            return has_none
        are_values_empty = are_empty(column.dictionary)
        indices: NDArray[np.int64] = column.indices.fill_null(0).to_numpy()
        return has_none | are_values_empty[indices]
    is_empty = pc.is_null(column, nan_is_null=True)
    if str(column.type) in ("string", "large_string", "string_view"):
        trimmed = pc.utf8_trim(column.cast(pa.string()), characters=BLANKS)
        is_empty = pc.or_(is_empty, pc.fill_null(pc.equal(trimmed, ""), True))
    elif str(column.type) in ("binary", "large_binary"):  # text that is not marked as such
        is_blank = pc.match_substring_regex(column, r"^\s*$")
        is_empty = pc.or_(is_empty, pc.fill_null(is_blank, True))
    return _numpy(is_empty)


def _taken(column: pa.Array, rows: NDArray[np.int64]) -> pa.Array:
    """Returns some rows of a column; of a dictionary only the values that they have."""
    if pa.types.is_dictionary(column.type):
        return column.take(pa.array(rows)).dictionary_decode().dictionary_encode()
    return column.take(pa.array(rows))


def _numpy(column: pa.Array) -> NDArray[np.bool_]:
    array: NDArray[np.bool_] = column.to_numpy(zero_copy_only=False)
    return array
