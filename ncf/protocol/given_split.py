"""Ready-made splits: the three files of the NCF paper (He et al., WWW 2017) for one data set.

    NAME.train.rating   user, item, rating[, timestamp]: what may be learned from
    NAME.test.rating    the same, one line per user: the test item
    NAME.test.negative  (user,item), then N negatives; line n belongs to line n of NAME.test.rating

Fields are separated by tabs. Users and items are dense indices from 0, which count as the own ids
too. The validation item is the user's latest in NAME.train.rating (equal or no timestamps: the
lower line); a user with fewer than two lines there has none. The test item and its negatives are
as given, with one exception: candidates are distinct, so a negative that is the positive itself,
or repeats an earlier negative, becomes padding (-1). In the authors' ml-1m that is so in 156 of
6,040 rows. As ties count against the positive, each would have cost its user one rank, so numbers
by stricter or laxer code differ a little.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ncf.data import numbers
from ncf.data.files import data_home
from ncf.data.interactions import Interactions, from_columns
from ncf.data.numbers import Field
from ncf.protocol.splitting import HeldOut, Split, history_of

_log = logging.getLogger(__name__)

NAME = "ncf-ml-1m"
_SUFFIX = ".train.rating"


@dataclass(frozen=True)
class ReadyMade:
    """A data set that comes with its split.

    Attributes:
        interactions: The lines of train and test; named `ncf-NAME`, as `NAME` is the plain set.
        split: Train less validation, validation and test; the last two may differ in users.
        test_candidates: The candidates of `split.test`, (V, 1 + N), with the positive in column 0
            and -1 as padding.
        n_dropped: The number of negatives that became padding.
    """

    interactions: Interactions
    split: Split
    test_candidates: NDArray[np.int32]
    n_dropped: int


def find(data: str) -> Path | None:
    """Returns the train file of a ready-made split; None where `data` names something else.

    Raises:
        FileNotFoundError: `data` names a ready-made split that is not there.
    """
    if data == NAME:
        path = data_home() / NAME / f"ml-1m{_SUFFIX}"
        remedy = (
            "put the three ml-1m files of the NCF paper's repository (Data/ml-1m.*) there, or set "
            "NCF_DATA_HOME to the folder that holds them"
        )
    elif data.endswith(_SUFFIX):
        path, remedy = Path(data).expanduser(), "check the path"
    else:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {remedy}")
    return path


def load_ready_made(train_file: Path) -> ReadyMade:
    """Reads `NAME.train.rating` and the two files beside it.

    Raises:
        FileNotFoundError: One of the three is not there.
        ValueError: A line breaks a rule, or the files contradict each other.
    """
    name = train_file.name.removesuffix(_SUFFIX)
    test_file = train_file.with_name(f"{name}.test.rating")
    negative_file = train_file.with_name(f"{name}.test.negative")
    for file in (train_file, test_file, negative_file):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file}: no such file; a ready-made split is NAME{_SUFFIX}, NAME.test.rating and "
                "NAME.test.negative in one folder"
            )
    train, train_has_times = _read_ratings(train_file)
    test, test_has_times = _read_ratings(test_file)
    rows = _read_negatives(negative_file)
    n_users = 1 + int(max(train[:, 0].max(), test[:, 0].max()))
    n_items = 1 + int(max(train[:, 1].max(), test[:, 1].max(), rows[:, 2:].max()))
    test_lines = _test_line_of_each_user(test_file, test[:, 0], n_users)
    _check_pairs(test_file, negative_file, test, rows)
    test_items = test[test_lines, 1]
    leaked = test_items[train[:, 0]] == train[:, 1]
    if leaked.any():
        line = int(np.argmax(leaked))
        raise ValueError(
            f"{train_file}, line {line + 1}: item {train[line, 1]} is the test item of user "
            f"{train[line, 0]} and may not be trained on; remove the line"
        )

    interactions = _interactions(f"ncf-{name}", train, test, n_items)
    interactions = replace(interactions, has_times=train_has_times and test_has_times)
    split = _split(interactions, test_items.astype(np.int32))
    candidates, n_dropped = _distinct(rows[test_lines, 1:].astype(np.int32))
    if n_dropped:
        n_rows = np.count_nonzero((candidates < 0).any(axis=1))
        _log.info(
            "%s: %d negatives in %d of %d rows are the row's positive or repeated, and left out",
            negative_file, n_dropped, n_rows, len(candidates),
        )  # fmt: skip
    return ReadyMade(interactions, split, candidates, n_dropped)


def _read_ratings(path: Path) -> tuple[NDArray[np.int64], bool]:
    """Returns user, item and timestamp of each line, (lines, 3), and whether there are timestamps.

    They are 0 where the file has none.
    """
    content, n_fields = numbers.read_content(path)
    if n_fields not in (3, 4):
        raise ValueError(
            f"{path}, line 1: expected user, item, rating and perhaps timestamp, separated by "
            f"tabs, got {n_fields} fields; correct the file"
        )
    fields = [Field.INDEX, Field.INDEX, Field.NUMBER, Field.TIME][:n_fields]
    user, item, _, *time = numbers.parse(path, content, fields)
    lines = np.stack([user, item, *(time or [np.zeros_like(user)])], axis=1)
    return lines, bool(time)


def _read_negatives(path: Path) -> NDArray[np.int64]:
    """Returns user, item and negatives of each line, (lines, 2 + N)."""
    content, n_fields = numbers.read_content(path)
    if n_fields < 2:
        raise ValueError(
            f"{path}, line 1: expected (user,item) and negatives, separated by tabs, got 1 field; "
            "correct the file"
        )
    fields = [Field.PAIR, *[Field.INDEX] * (n_fields - 1)]
    return np.stack(numbers.parse(path, content, fields), axis=1)


def _test_line_of_each_user(
    path: Path, users: NDArray[np.int64], n_users: int
) -> NDArray[np.int64]:
    """Returns the line number, from 0, of each user's test item, (U,)."""
    counts = np.bincount(users, minlength=n_users)
    if (counts == 0).any():
        raise ValueError(
            f"{path}: every user from 0 to {n_users - 1} must have a line, and user "
            f"{np.argmin(counts)} has none; add it, or number the users without a gap"
        )
    if (counts > 1).any():
        user = np.argmax(counts)
        line = np.flatnonzero(users == user)[1] + 1
        raise ValueError(f"{path}, line {line}: a second test item of user {user}; keep one")
    return np.argsort(users)


def _check_pairs(
    test_file: Path, negative_file: Path, test: NDArray[np.int64], rows: NDArray[np.int64]
) -> None:
    """Checks that each line of negatives is for the test item of the same line."""
    n = min(len(test), len(rows))
    differs = (test[:n, :2] != rows[:n, :2]).any(axis=1)
    if differs.any() or len(test) != len(rows):
        line = int(np.argmax(differs)) if differs.any() else n
        wanted, got = (
            "({},{})".format(*pairs[line, :2]) if line < len(pairs) else "no line"
            for pairs in (test, rows)
        )
        raise ValueError(
            f"{negative_file}, line {line + 1}: must be for the pair of the same line of "
            f"{test_file.name}, {wanted}, got {got}; put the lines in one order, or fetch both"
        )


def _interactions(
    name: str, train: NDArray[np.int64], test: NDArray[np.int64], n_items: int
) -> Interactions:
    """Returns the lines of train, then test, with the items that only serve as negatives too."""
    users, items, timestamps = np.concatenate([train, test]).T
    found = from_columns(name, users, items, timestamps)
    item_ids = np.arange(n_items, dtype=np.int64)
    return replace(found, items=found.item_ids[found.items].astype(np.int32), item_ids=item_ids)


def _split(interactions: Interactions, test_items: NDArray[np.int32]) -> Split:
    """Splits by the test items, (U,), and each user's latest other interaction."""
    n_users, n_items = interactions.n_users, interactions.n_items
    user_of = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(interactions.indptr))
    others = interactions.items != test_items[user_of]
    users, items = user_of[others], interactions.items[others]
    n_others = np.bincount(users, minlength=n_users)
    validated = np.flatnonzero(n_others >= 2).astype(np.int32)
    latest = (np.cumsum(n_others) - 1)[validated]
    trains = np.ones(len(users), bool)
    trains[latest] = False
    return Split(
        history_of(users[trains], items[trains], n_users, n_items),
        HeldOut(validated, items[latest]),
        HeldOut(np.arange(n_users, dtype=np.int32), test_items),
    )


def _distinct(candidates: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Returns candidates (V, C) with -1 for all but the first of equals, and how many that are."""
    order = np.argsort(candidates, axis=1, kind="stable")
    ordered = np.take_along_axis(candidates, order, axis=1)
    repeats = np.zeros(candidates.shape, bool)
    np.put_along_axis(repeats, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return np.where(repeats, np.int32(-1), candidates), int(np.count_nonzero(repeats))
