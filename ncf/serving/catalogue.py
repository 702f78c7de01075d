"""A data set's own ids, titles and seen items: what a model needs beside its arrays to answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import checks

if TYPE_CHECKING:
    from ncf.data.interactions import Interactions
    from ncf.protocol.splitting import History

_ARRAYS = ("user_ids", "item_ids", "titles", "indptr", "items")  # of the file, by name
_FITTED = "fitted"  # is in the file where the model was not fitted to all users


@dataclass(frozen=True)
class Catalogue:
    """Who and what a model knows.

    Shapes: user_ids (U,) and item_ids (I,), ascending; titles (I,) or None. User u has seen the
    items `seen_items[seen_indptr[u]:seen_indptr[u + 1]]`, dense indices in ascending order.
    `fitted` (U,) tells the users that the model was fitted to from those who came later, as a split
    by time has them; None where it was fitted to all.
    """

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    titles: NDArray[np.str_] | None
    seen_indptr: NDArray[np.int64]
    seen_items: NDArray[np.int32]
    fitted: NDArray[np.bool_] | None = None

    def save(self, path: Path) -> None:
        """Writes one compressed file of plain arrays."""
        arrays: dict[str, NDArray[Any]] = {
            "user_ids": self.user_ids,
            "item_ids": self.item_ids,
            "indptr": self.seen_indptr,
            "items": self.seen_items,
            "titles": np.array([], np.str_) if self.titles is None else self.titles,
        }
        if self.fitted is not None:
            arrays[_FITTED] = self.fitted
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Catalogue:
        """Reads what `save` wrote.

        Raises:
            ValueError: What is there breaks a rule of a catalogue; the message names the rule. A
                file that is no archive raises other errors.
        """
        checks.archive(path, _ARRAYS, (_FITTED,))
        with np.load(path, allow_pickle=False) as arrays:
            user_ids, item_ids, titles, indptr, items = (arrays[name] for name in _ARRAYS)
            fitted = arrays.get(_FITTED)
        for name, own_ids in (("user_ids", user_ids), ("item_ids", item_ids)):
            checks.ids(name, own_ids)
        checks.bounds("indptr", indptr, len(user_ids), len(items))
        checks.in_range("items", items, 0, len(item_ids))
        checks.ascending("items", indptr, items)
        if titles.dtype.kind != "U" or titles.shape not in ((0,), item_ids.shape):
            raise ValueError(f"titles must be {len(item_ids)} texts or none")
        if fitted is not None and (fitted.dtype != np.bool_ or fitted.shape != user_ids.shape):
            raise ValueError(f"{_FITTED} must be {len(user_ids)} truth values")
        return cls(user_ids, item_ids, titles if len(titles) else None, indptr, items, fitted)

    @classmethod
    def of(cls, interactions: Interactions, seen: History, fitted_on: History) -> Catalogue:
        """Returns the catalogue of a model.

        Args:
            interactions: The data set.
            seen: What its users have seen.
            fitted_on: What the model was fitted on.
        """
        ids = interactions.user_ids, interactions.item_ids
        fitted = np.diff(fitted_on.indptr) > 0
        users = None if fitted.all() else fitted
        return cls(*ids, interactions.titles, seen.indptr, seen.items, users)

    @cached_property
    def digest(self) -> str:
        """A checksum of all that it holds, however wide the arrays are in which it is held."""
        sha = hashlib.sha256()
        for array in (self.user_ids, self.item_ids, self.titles):
            sha.update(b"|" if array is None else _bytes_of(array) + b"|")
        sha.update(self.seen_indptr.astype("<i8").data)
        sha.update(self.seen_items.astype("<i4").data)
        if self.fitted is not None:
            sha.update(np.packbits(self.fitted).data)
        return sha.hexdigest()

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.item_ids)

    def seen_by(self, user: int) -> NDArray[np.int32]:
        """Returns the dense indices of the items that a user has seen."""
        return self.seen_items[self.seen_indptr[user] : self.seen_indptr[user + 1]]

    def user_of(self, user_id: Any) -> int | None:
        """Returns the dense index of an own user id, None where it is unknown."""
        return _position(self.user_ids, user_id)

    def is_fitted(self, user: int | None) -> bool:
        """Returns whether the model was fitted to a user, by dense index; None is nobody."""
        return user is not None and (self.fitted is None or bool(self.fitted[user]))

    @property
    def fitted_users(self) -> NDArray[np.int64]:
        """The users that the model was fitted to, dense indices in ascending order."""
        return np.arange(self.n_users) if self.fitted is None else np.flatnonzero(self.fitted)

    def item_of(self, item_id: Any) -> int | None:
        """Returns the dense index of an own item id, None where it is unknown."""
        return _position(self.item_ids, item_id)

    def titles_of(self, items: NDArray[np.int64]) -> list[str]:
        """Returns the titles of items by dense index, empty where there are none."""
        return [""] * len(items) if self.titles is None else self.titles[items].tolist()

    @cached_property
    def popularity(self) -> NDArray[np.float32]:
        """The share of all users who have seen each item, (I,)."""
        counts = np.bincount(self.seen_items, minlength=self.n_items)
        return (counts / self.n_users).astype(np.float32)


def _bytes_of(array: NDArray[Any]) -> bytes:
    if array.dtype.kind == "U":
        return "\0".join(array.tolist()).encode(errors="surrogatepass")
    return array.astype("<i8").tobytes()


def _position(ids: NDArray[Any], own_id: Any) -> int | None:
    if np.issubdtype(ids.dtype, np.integer):
        try:
            own_id = int(str(own_id).removesuffix(".0"))  # as a table with gaps writes integers
            position = int(np.searchsorted(ids, np.int64(own_id)))
        except (ValueError, OverflowError):
            return None
    else:
        own_id = str(own_id)
        if len(own_id) > ids.dtype.itemsize // 4:  # longer than the longest, whose width all have:
            return None  # numpy would widen all of them to look for it
        position = int(np.searchsorted(ids, own_id))
    return position if position < len(ids) and ids[position] == own_id else None
