"""What is known of a data set before any training: counted, not yet in words."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ncf.data.columns import Columns
from ncf.data.datasets import find_file
from ncf.data.interactions import from_columns
from ncf.data.movielens import NAMES
from ncf.data.ratings import read_ratings
from ncf.data.times import resolution_of
from ncf.protocol import given_split
from ncf.protocol.choice import SplitChoice, SplitData, read_given, split_as
from ncf.protocol.metrics import mean_by_user
from ncf.protocol.sequence import Sequence, measure


@dataclass(frozen=True)
class Facts:
    """What is known of a data set before any training.

    Attributes:
        name: Of the data.
        counts: Rows of the file, those with an empty cell, those kept, users, items, interactions,
            evaluated users, train interactions.
        period: First and last day of the rows that are kept; None where the file has no times.
        per_user: Interactions of each user, (U,).
        per_item: Interactions of each item, (I,).
        rising: Share of neighbours of equal time, within users, of which the later row has the
            higher item id: about 0.5 where the file's order says nothing of the items.
        cold: Share of a user's test items that nobody has in train or validation, mean over users.
        repeated: Share of the file's rows that repeat an earlier pair of user and item.
        n_untouched: The fewest items that a user has not touched.
        resolution: How many seconds apart the moments are that the times can tell: 86,400 where
            they are dates alone, 60 where they are whole minutes, else 1.
        sequence: What the order in time decides; None where the file has no times.
        is_given: Whether the split comes with the data.
        is_by_time: Whether it is a split by time.
        protocol: How the data are split, in a few words.
        notes: Who is not evaluated and why, as sentences.
        n_validated: The number of users that trials are judged by.
        columns_read: Which column of the file was taken as what, one line each.
        remarks: What a person should know of the values that were read, one line each.
    """

    name: str
    counts: dict[str, int]
    period: tuple[str, str] | None
    per_user: NDArray[np.int64]
    per_item: NDArray[np.int64]
    rising: float
    cold: float
    repeated: float
    n_untouched: int
    resolution: int
    sequence: Sequence | None
    is_given: bool
    is_by_time: bool
    protocol: str
    notes: tuple[str, ...]
    n_validated: int
    columns_read: tuple[str, ...]
    remarks: tuple[str, ...]


def gather(
    data: str,
    columns: Columns,
    min_rating: float | None = None,
    choice: SplitChoice | None = None,
    drop_empty: bool = False,
) -> Facts:
    """Reads a data set, by name or path, and counts.

    Args:
        data: Name or path of the data set.
        columns: The names of its columns.
        min_rating: The lowest rating that counts as an interaction.
        choice: The split; None means leave-one-out, or the one that the data come with.
        drop_empty: Whether rows with an empty cell are left out.

    Raises:
        ValueError: A line or value breaks a rule, or no user can be evaluated.
        OSError: A file is not there, or cannot be read or downloaded.
    """
    train_file = given_split.find(data)
    if train_file is not None:
        is_read_otherwise = bool(columns.given) or min_rating is not None or drop_empty
        given = read_given(train_file, choice or SplitChoice(), is_read_otherwise)
        n_rows = given.interactions.n_interactions
        times = given.interactions.timestamps
        return _facts(given, (n_rows, 0, n_rows), times, is_given=True)
    name, path = find_file(data)
    ratings = read_ratings(path, columns, min_rating, drop_empty)
    interactions = from_columns(name, ratings.user_ids, ratings.item_ids, ratings.timestamps)
    notes = () if data in NAMES else ratings.notes  # nothing is assumed of a known set
    interactions = replace(
        interactions, columns_read=(*ratings.columns_read, *notes), remarks=ratings.remarks
    )
    counted = (ratings.n_rows, ratings.n_empty, len(ratings.user_ids))
    times = interactions.timestamps if ratings.timestamps is None else ratings.timestamps
    data_split = split_as(choice or SplitChoice(), interactions)
    return _facts(data_split, counted, times, is_given=False)


def _facts(
    data: SplitData, n_rows: tuple[int, int, int], all_times: NDArray[np.int64], is_given: bool
) -> Facts:
    """Returns what is known of a data set.

    Args:
        data: The data set, split.
        n_rows: The rows of the file, those of them with an empty cell, and those that are kept.
        all_times: The time of each row that is kept; several may have one pair.
        is_given: Whether the split comes with the data.
    """
    of_file, n_empty, n_kept = n_rows
    interactions, split = data.interactions, data.split
    per_user = np.diff(interactions.indptr)
    times = interactions.timestamps
    same_user = np.ones(len(times) - 1, bool)
    same_user[interactions.indptr[1:-1] - 1] = False
    is_tie = same_user & (times[1:] == times[:-1])
    is_rising = interactions.items[1:] > interactions.items[:-1]
    days = None
    if interactions.has_times:
        first, last = (
            time.strftime("%Y-%m-%d", time.gmtime(t)) for t in (all_times.min(), all_times.max())
        )
        days = (first, last)
    is_new = split.train_and_validation.popularity[split.test.items] == 0
    return Facts(
        interactions.name,
        {
            "rows": of_file,
            "empty": n_empty,
            "kept": n_kept,
            "users": interactions.n_users,
            "items": interactions.n_items,
            "interactions": interactions.n_interactions,
            "evaluated": len(np.unique(split.test.users)),
            "train": len(split.train.items),
        },
        days,
        per_user,
        np.bincount(interactions.items, minlength=interactions.n_items),
        float(is_rising[is_tie].mean()) if is_tie.any() else 0.5,
        float(mean_by_user(is_new.astype(float), split.test.users).mean()),
        1 - interactions.n_interactions / n_kept,
        int(interactions.n_items - per_user.max()),
        resolution_of(times) if interactions.has_times else 1,
        measure(interactions, split) if interactions.has_times else None,
        is_given,
        split.test_period is not None,
        data.protocol,
        split.notes,
        len(np.unique(split.validation.users)),
        interactions.columns_read,
        interactions.remarks,
    )
