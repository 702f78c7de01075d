"""What one request to a served model may ask for; a server answers more with status 400.

A server keeps the memory that its largest request took. Whoever loads the model in Python, or
writes the lists of all users with `recommend --all`, is not limited.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 10_000
MOST_GIVEN = 100_000  # item ids that are given, in all rows and params
MOST_LISTED = 1_000_000  # items that are answered, in all rows
LONGEST_ID = 1_000  # signs
_SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"  # MLflow's server sets it


def check_request(
    rows: pd.DataFrame,
    k: int,
    n_items: int,
    only: Sequence[Any] | None = None,
    exclude: Sequence[Any] = (),
) -> None:
    """Raises where a server is asked for too much; elsewhere there is no limit.

    Args:
        rows: The request's rows.
        k: The most items of a list.
        n_items: The number of items that the model knows.
        only: The ids of the items that may be listed, if not all may.
        exclude: The ids of items that may not.

    Raises:
        ValueError: A limit is exceeded; the message names it and says what to do.
    """
    if os.environ.get(_SERVING) != "true":
        return
    if len(rows) > MOST_ROWS:
        raise ValueError(f"a request may have {MOST_ROWS:,} rows, but has {len(rows):,}: send less")
    if (n_listed := len(rows) * min(k, n_items)) > MOST_LISTED:
        raise ValueError(
            f"a request may be answered with {MOST_LISTED:,} items, but {len(rows):,} rows of "
            f"k={k} are {n_listed:,}: send fewer rows, or a smaller k"
        )
    if "user_id" in rows:
        _check_lengths("a user id", rows["user_id"])
    given = [only or [], exclude]
    if "item_ids" in rows:
        given += [items_of_cell(cell) or [] for cell in rows["item_ids"]]
    if (n_given := sum(map(len, given))) > MOST_GIVEN:
        raise ValueError(
            f"a request may give {MOST_GIVEN:,} item ids, but gives {n_given:,}: send fewer"
        )
    for item_ids in given:
        _check_lengths("an item id", item_ids)


def items_of_cell(cell: Any) -> list[Any] | None:
    """Returns the item ids of a table's cell; None where it is empty."""
    if isinstance(cell, str):
        return [item.strip() for item in cell.split(",") if item.strip()] or None
    if isinstance(cell, list | tuple | np.ndarray):
        return list(cell) or None
    if cell is None or cell != cell:
        return None
    raise ValueError(f"item_ids must be a list or text with commas, but got {in_short(cell)}")


def ids_of(kind: str, own_ids: Iterable[Any]) -> list[Any]:
    """Returns the own ids of users or items as a list.

    Raises:
        ValueError: They are no list, or one of them is neither text nor an integer.
    """
    if isinstance(own_ids, str | int | np.integer):
        raise ValueError(f"{kind} ids must be a list, as [{in_short(own_ids)}]")
    listed = list(own_ids)
    for own_id in listed:
        if isinstance(own_id, bool) or not isinstance(own_id, str | int | np.integer):
            article = "an" if kind == "item" else "a"
            raise ValueError(
                f"{article} {kind} id must be text or an integer, but got {in_short(own_id)}"
            )
    return listed


def in_short(value: Any) -> str:
    """Returns a value as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _check_lengths(what: str, own_ids: Iterable[Any]) -> None:
    for own_id in own_ids:
        if isinstance(own_id, str) and len(own_id) > LONGEST_ID:
            raise ValueError(
                f"{what} may have {LONGEST_ID:,} signs, but one has {len(own_id):,}: "
                f"{in_short(own_id)}"
            )
