"""`Interactions`: who touched what and when, as dense arrays, and how they are built.

Users and items get dense indices in the order of their own ids. The interactions are ordered by
user, then time, then the file's row order. A (user, item) pair that occurs more than once counts
once, at its first time.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

OwnIds: TypeAlias = "NDArray[Any] | pd.Categorical"

_ROWS_AT_A_TIME = 2**18


@dataclass(frozen=True, eq=False)
class Interactions:
    """E interactions of U users with I items, grouped by user, oldest first.

    Raises:
        ValueError: The arrays do not fit together.
    """

    name: str
    """"ml-100k", or the file's stem; it names models and runs."""
    indptr: NDArray[np.int64]
    """(U + 1,) user u's interactions are `indptr[u]:indptr[u + 1]`."""
    items: NDArray[np.int32]
    """(E,) dense item indices."""
    timestamps: NDArray[np.int64]
    """(E,) seconds since 1970, or the row number where the file has no time."""
    user_ids: NDArray[Any]
    """(U,) own ids, ascending; int64 or text."""
    item_ids: NDArray[Any]
    """(I,) own ids, ascending; int64 or text."""
    titles: NDArray[np.str_] | None = None
    """(I,) '' where unknown; None where the data set has no titles."""
    has_times: bool = True
    """False where the timestamps are row numbers: "latest" is then the file's order."""
    columns_read: tuple[str, ...] = ()
    """Which column of the file was taken as what, one line for each, for a person to read."""
    remarks: tuple[str, ...] = ()
    """What a person should know of the values that were read, one line for each."""

    def __post_init__(self) -> None:
        """Checks types, shapes and index ranges; the order within a user is the builder's job."""
        for field, dtype in (("indptr", np.int64), ("items", np.int32), ("timestamps", np.int64)):
            array = getattr(self, field)
            self._require(
                array.dtype == dtype and array.ndim == 1,
                f"{field} must be one-dimensional {np.dtype(dtype)}",
                f"{array.dtype} of shape {array.shape}",
            )
        for field in ("user_ids", "item_ids"):
            ids = getattr(self, field)
            self._require(
                ids.ndim == 1 and (ids.dtype == np.int64 or ids.dtype.kind == "U"),
                f"{field} must be one-dimensional int64 or text",
                f"{ids.dtype} of shape {ids.shape}",
            )
            self._require(
                bool((ids[1:] > ids[:-1]).all()), f"{field} must be ascending", "another order"
            )
        self._require(
            min(self.n_users, self.n_items) >= 2,
            "at least 2 users and 2 items are needed",
            f"{self.n_users} and {self.n_items}; give more interactions",
        )
        n_interactions = len(self.items)
        self._require(
            len(self.timestamps) == n_interactions,
            f"timestamps must have a length of {n_interactions}",
            len(self.timestamps),
        )
        self._require(
            len(self.indptr) == self.n_users + 1,
            f"indptr must have a length of {self.n_users + 1}",
            len(self.indptr),
        )
        self._require(
            self.indptr[0] == 0
            and self.indptr[-1] == n_interactions
            and bool((self.indptr[1:] > self.indptr[:-1]).all()),
            f"indptr must rise from 0 to {n_interactions}, by at least 1 per user",
            f"{self.indptr[0]} to {self.indptr[-1]}",
        )
        self._require(
            self.items.min() >= 0 and self.items.max() < self.n_items,
            f"items must be in 0 to {self.n_items - 1}",
            f"{self.items.min()} to {self.items.max()}",
        )
        if self.titles is not None:
            self._require(
                self.titles.dtype.kind == "U" and self.titles.shape == self.item_ids.shape,
                f"titles must be text of shape {self.item_ids.shape}",
                f"{self.titles.dtype} of shape {self.titles.shape}",
            )

    def _require(self, holds: bool, rule: str, got: object) -> None:
        if not holds:
            raise ValueError(f"{self.name}: {rule}, got {got}")

    @property
    def n_users(self) -> int:
        """U, the number of users."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """I, the number of items."""
        return len(self.item_ids)

    @property
    def n_interactions(self) -> int:
        """E, the number of interactions."""
        return len(self.items)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the interactions and own ids; neither of the name nor of the titles."""
        digest = hashlib.sha256()
        for field in ("indptr", "items", "timestamps", "user_ids", "item_ids"):
            array = getattr(self, field)
            kind = "text" if array.dtype.kind == "U" else f"<i{array.dtype.itemsize}"
            digest.update(f"{field} {kind} {len(array)}\n".encode())
            if kind == "text":
                # numpy pads text to the longest, so the lengths and the text are hashed instead.
                digest.update(np.strings.str_len(array).astype("<i8").data)
                digest.update("".join(array.tolist()).encode())
            else:
                digest.update(np.ascontiguousarray(array, dtype=kind).data)
        return digest.hexdigest()


def from_columns(
    name: str,
    user_ids: OwnIds,
    item_ids: OwnIds,
    timestamps: NDArray[np.int64] | None = None,
    titles: Mapping[Any, str] | None = None,
) -> Interactions:
    """Returns the `Interactions` of a file's columns, each of shape (rows,), in the file's order.

    Own ids are integers or text; without `timestamps` the row numbers are the times. `titles` maps
    an own item id to its title.

    Raises:
        ValueError: The columns differ in length, a time is not in 0 to 2**32 - 1 seconds, or
            there are fewer than two users or items.
    """
    n_rows = len(user_ids)
    has_times = timestamps is not None
    if timestamps is None:
        timestamps = np.arange(n_rows, dtype=np.int64)
    if not n_rows == len(item_ids) == len(timestamps):
        raise ValueError(
            f"{name}: columns must be of equal length, got {n_rows} users, {len(item_ids)} items "
            f"and {len(timestamps)} timestamps"
        )
    if not 0 < n_rows < 2**31:
        raise ValueError(f"{name}: 1 to {2**31 - 1} interactions are possible, got {n_rows}")
    if timestamps.min() < 0 or timestamps.max() >= 2**32:
        raise ValueError(
            f"{name}: timestamps must be seconds in 0 to {2**32 - 1}, "
            f"got {timestamps.min()} to {timestamps.max()}"
        )
    users, user_ids = _encode(user_ids)
    items, item_ids = _encode(item_ids)

    # numpy sorts int64 an order of magnitude faster than it argsorts, so sort (value, row) packed
    # in one integer, and do it twice: by time, then by user. 32 + 31 bits always fit.
    order = _stable_order(timestamps)
    order = order[_stable_order(users[order])]
    users, items, timestamps = users[order], items[order], timestamps[order]
    del order
    first = _first_of_each_pair(users, items)
    if not first.all():
        users, items, timestamps = users[first], items[first], timestamps[first]
    indptr = np.searchsorted(users, np.arange(len(user_ids) + 1)).astype(np.int64)
    known = None
    if titles is not None:
        known = np.array([titles.get(item_id, "") for item_id in item_ids.tolist()], dtype=np.str_)
    return Interactions(
        name, indptr, items, timestamps, user_ids, item_ids, known, has_times=has_times
    )


def _encode(ids: OwnIds) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Returns the dense index of every row (rows,) and the distinct own ids, ascending."""
    codes: NDArray[Any]
    values: NDArray[Any]
    if isinstance(ids, pd.Categorical):
        codes, values = ids.codes, np.asarray(ids.categories, dtype=np.str_)
    elif ids.dtype.kind in "iu":
        low, high = int(ids.min()), int(ids.max())
        if high - low < 2 * len(ids) + 2**20:  # a table is faster and smaller than a hash
            codes, values = ids - ids.dtype.type(low), np.arange(low, high + 1, dtype=np.int64)
        else:
            codes, values = pd.factorize(ids)
            values = values.astype(np.int64)
    else:
        codes, values = pd.factorize(ids.astype(object))
        values = values.astype(np.str_)
    if codes.min() < 0:  # pandas' mark of a missing value
        raise ValueError(f"own ids must not be missing, got none in row {int(np.argmin(codes))}")
    used = np.zeros(len(values), dtype=np.bool_)
    used[codes] = True
    kept = np.flatnonzero(used)
    kept = kept[np.argsort(values[kept], kind="stable")]
    index = np.empty(len(values), dtype=np.int32)
    index[kept] = np.arange(len(kept), dtype=np.int32)
    return index[codes], values[kept]


def _stable_order(values: NDArray[Any]) -> NDArray[np.int32]:
    """Returns the stable argsort of non-negative integers below 2**32, at most 2**31 of them."""
    bits = max(len(values) - 1, 1).bit_length()
    packed = values.astype(np.int64)
    packed <<= bits
    packed |= np.arange(len(values), dtype=np.int32)
    packed.sort()
    packed &= (1 << bits) - 1
    return packed.astype(np.int32)


def _first_of_each_pair(users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Returns, for every row (rows,), whether no earlier row has its user and item.

    `users` must be ascending. Some users at a time, so that the hash table stays in the cache:
    seven times as fast as one table for 27.7 million rows.
    """
    n_items = int(items.max()) + 1
    n_rows = len(users)
    cuts = np.searchsorted(users, users[::_ROWS_AT_A_TIME])
    first = np.empty(n_rows, dtype=np.bool_)
    for start, stop in pairwise([*np.unique(cuts).tolist(), n_rows]):
        pairs = users[start:stop].astype(np.int64) * n_items + items[start:stop]
        first[start:stop] = ~pd.Series(pairs).duplicated().to_numpy()
    return first
