"""What must hold of the arrays in a model's files before anything answers from them.

Compiled code follows the indices in them without looking, so that a file that is damaged, or made
by somebody else, could end the process, fill the memory or answer wrongly.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNPACKED_BYTES, RATIO = 1 << 30, 200  # an archive may unpack to that much, or to so many times it
_OF_USERS = {"user_factors", "user_hidden", "recent_items"}
_OF_ITEMS = {"item_factors", "item_hidden", "item_bias", "recent_factors", "weights", "popularity"}


def check_weights(arrays: Mapping[str, NDArray[Any]], n_users: int, n_items: int) -> None:
    """Raises where a scorer's arrays hold what is no number, or point beyond users and items.

    Args:
        arrays: What `Scorer.arrays` returns. Names of several models' arrays have a prefix and a
            point; `x_indptr`, `x_items` and `x_values` are compressed sparse rows.
        n_users: U.
        n_items: I.

    Raises:
        ValueError: A rule is broken; the message names the array and the rule.
    """
    for full_name, array in arrays.items():
        prefix, point, name = full_name.rpartition(".")
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ValueError(f"{full_name} holds values that are no numbers: its training diverged")
        for names, n, what in ((_OF_USERS, n_users, "users"), (_OF_ITEMS, n_items, "items")):
            if name in names and (array.ndim == 0 or len(array) != n):
                raise ValueError(f"{full_name} is of shape {array.shape}, but there are {n} {what}")
        if name == "weights" and array.shape != (n_items, n_items):
            raise ValueError(f"{full_name} is of shape {array.shape}, but has to be square")
        if name.endswith("_items"):
            in_range(full_name, array, -1 if name == "recent_items" else 0, n_items)
        if name.endswith("_indptr"):
            rows = f"{prefix}{point}{name.removesuffix('indptr')}"
            items = arrays[f"{rows}items"]
            bounds(full_name, array, n_users if name.startswith("history") else n_items, len(items))
            if len(arrays.get(f"{rows}values", items)) != len(items):
                raise ValueError(f"{rows}values and {rows}items must have the same length")


def ids(name: str, array: NDArray[Any]) -> None:
    """Raises where an array is not one of distinct ids, text or integers, in ascending order."""
    is_text = array.dtype.kind == "U"
    if array.ndim != 1 or not (is_text or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"{name} must be a row of texts or integers")
    if not (array[1:] > array[:-1]).all():
        raise ValueError(f"{name} must be ascending and distinct")


def bounds(name: str, indptr: NDArray[Any], n_rows: int, n_values: int) -> None:
    """Raises where an array is not the bounds of so many rows of so many values."""
    if indptr.shape != (n_rows + 1,) or not np.issubdtype(indptr.dtype, np.integer):
        raise ValueError(f"{name} must be {n_rows + 1} integers, but is of shape {indptr.shape}")
    if indptr[0] != 0 or indptr[-1] != n_values or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(f"{name} must ascend from 0 to {n_values}")


def in_range(name: str, items: NDArray[Any], low: int, high: int) -> None:
    """Raises where an array is not of integers in [low, high)."""
    if not np.issubdtype(items.dtype, np.integer):
        raise ValueError(f"{name} must be integers, but is {items.dtype}")
    if items.size and not low <= items.min() <= items.max() < high:
        raise ValueError(
            f"{name} must be in [{low}, {high}), but is in [{items.min()}, {items.max()}]"
        )


def ascending(name: str, indptr: NDArray[np.integer[Any]], items: NDArray[Any]) -> None:
    """Raises where the items of a row are not ascending and distinct."""
    rises = items[1:] > items[:-1]
    starts = indptr[1:-1]
    rises[starts[(starts > 0) & (starts < len(items))] - 1] = True  # from one row to the next
    if not rises.all():
        raise ValueError(f"{name} must be ascending and distinct within each row")


def archive(path: Path, names: Iterable[str], others: Iterable[str] = ()) -> None:
    """Raises where the arrays of an .npz file are not as large as they say, or unpack to too much.

    Nothing of the arrays is unpacked for it but their first bytes, which hold their shapes.

    Args:
        path: The file.
        names: The names of its arrays.
        others: The names of arrays that may be missing.

    Raises:
        ValueError: A rule is broken.
        zipfile.BadZipFile: It is no archive.
        KeyError: An array is missing.
    """
    whole = 0
    with zipfile.ZipFile(path) as file:
        there = set(file.namelist())
        for name in (*names, *(other for other in others if f"{other}.npy" in there)):
            member = file.getinfo(f"{name}.npy")
            whole += member.file_size
            with file.open(member) as content:
                version = np.lib.format.read_magic(content)
                if version == (1, 0):
                    shape, _, dtype = np.lib.format.read_array_header_1_0(content)
                else:
                    shape, _, dtype = np.lib.format.read_array_header_2_0(content)
                n_bytes = content.tell() + prod(shape) * dtype.itemsize
            if n_bytes != member.file_size and not dtype.hasobject:
                raise ValueError(f"{name} must take {n_bytes} bytes, but takes {member.file_size}")
    if whole > max(UNPACKED_BYTES, RATIO * path.stat().st_size):
        raise ValueError(
            f"{path.stat().st_size / 1e6:.1f} MB that unpack to {whole / 1e9:.1f} GB are no "
            "catalogue of this program"
        )
