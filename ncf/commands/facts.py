"""Look before you train: what a data set holds, how it would be judged, and what would mislead."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ncf.data.columns import Columns
from ncf.data.datasets import find_file
from ncf.data.interactions import Interactions, from_columns
from ncf.data.movielens import NAMES
from ncf.data.ratings import read_ratings
from ncf.protocol import given_split
from ncf.protocol.splitting import MIN_INTERACTIONS, Split, leave_one_out

_BAR = 36  # characters of the longest bar


@dataclass(frozen=True)
class Facts:
    """What is known of a data set before any training.

    Attributes:
        name: Of the data.
        counts: Rows of the file, those kept by their rating, users, items, interactions, evaluated
            users, train interactions.
        period: First and last day; None where the file has no times.
        per_user: Interactions of each user, (U,).
        per_item: Interactions of each item, (I,).
        tied: Share of the evaluated users whose latest time several of their interactions have.
        rising: Share of neighbours of equal time, within users, of which the later row has the
            higher item id: about 0.5 where the file's order says nothing of the items.
        cold: Share of the evaluated users whose test item nobody has in train or validation.
        repeated: Share of the file's rows that repeat an earlier pair of user and item.
        n_untouched: The fewest items that a user has not touched.
        is_given: Whether the split comes with the data.
        columns_read: Which column of the file was taken as what, one line each.
        remarks: What a person should know of the values that were read, one line each.
    """

    name: str
    counts: dict[str, int]
    period: tuple[str, str] | None
    per_user: NDArray[np.int64]
    per_item: NDArray[np.int64]
    tied: float
    rising: float
    cold: float
    repeated: float
    n_untouched: int
    is_given: bool
    columns_read: tuple[str, ...]
    remarks: tuple[str, ...]


def gather(data: str, columns: Columns, min_rating: float | None = None) -> Facts:
    """Reads a data set, by name or path, and counts.

    Raises:
        ValueError: A line or value breaks a rule, or no user can be evaluated.
        OSError: A file is not there, or cannot be read or downloaded.
    """
    train_file = given_split.find(data)
    if train_file is not None:
        given = given_split.load_ready_made(train_file)
        n_rows = given.interactions.n_interactions
        return _facts(given.interactions, given.split, n_rows, n_rows, is_given=True)
    name, path = find_file(data)
    ratings = read_ratings(path, columns, min_rating)
    interactions = from_columns(name, ratings.user_ids, ratings.item_ids, ratings.timestamps)
    notes = () if data in NAMES else ratings.notes  # nothing is assumed of a known set
    interactions = replace(
        interactions, columns_read=(*ratings.columns_read, *notes), remarks=ratings.remarks
    )
    n_kept = len(ratings.user_ids)
    split = leave_one_out(interactions)
    return _facts(interactions, split, ratings.n_rows, n_kept, is_given=False)


def in_words(facts: Facts) -> str:
    """Returns the facts, the protocol and the warnings as a page of text."""
    n = facts.counts
    sparsity = 1 - n["interactions"] / (n["users"] * n["items"])
    period = "no times: the file's order is the time"
    if facts.period is not None:
        period = " to ".join(facts.period)
    top = np.sort(facts.per_item)[::-1][: max(1, n["items"] // 100)].sum() / n["interactions"]
    order = "file order" if facts.period is None else "time"
    below = ""
    if n["kept"] < n["rows"]:
        below = f"{n['rows'] - n['kept']:,} are below --min-rating; "
    split = (
        "ready-made: test items and their negatives are given, validation is each user's latest "
        "of train"
        if facts.is_given
        else f"leave-one-out by {order}: a user's latest interaction is test, the one before "
        "validation, the rest train"
    )
    lines = [
        f"{facts.name}: {n['users']:,} users, {n['items']:,} items, {n['interactions']:,} "
        f"interactions; {sparsity:.2%} of all pairs are empty",
        f"{n['rows']:,} rows in the file; {below}{n['kept'] - n['interactions']:,} repeat a user "
        "and item and do not count again",
        *facts.columns_read,
        f"time: {period}",
        "",
        f"users by interactions: {_spread(facts.per_user)}",
        *_histogram(facts.per_user),
        "",
        f"items by interactions: {_spread(facts.per_item)}; the top 1% have {top:.0%} of all",
        *_histogram(facts.per_item),
        "",
        "Protocol of a search:",
        f"  {split}",
        f"  {n['evaluated']:,} of {n['users']:,} users are evaluated "
        f"({n['evaluated'] / n['users']:.1%}), the others only train",
        f"  {n['train']:,} interactions train a trial; the winner has validation too",
        "  the held-out item is ranked among 100 items that the user never touched, and among "
        "all of them",
        f"  cold: for {facts.cold:.1%} of the evaluated users, nobody else has the test item",
        "",
    ]
    problems = warnings(facts)
    lines += [f"WARNING: {problem}" for problem in problems] or ["Nothing here would mislead."]
    return "\n".join(lines)


def warnings(facts: Facts) -> list[str]:
    """Returns what would mislead a reader of the results, worst first."""
    n = facts.counts
    found = list(facts.remarks)
    if facts.period is None:
        found.append(
            "there is no time: the lines' order decides which items are held out; if they are "
            "sorted by item, or shuffled, 'latest' means nothing. Name the column: "
            "--columns timestamp=..."
        )
    elif facts.tied >= 0.05 and not facts.is_given:
        order = ""
        if abs(facts.rising - 0.5) > 0.2:
            rising = max(facts.rising, 1 - facts.rising)
            order = (
                f", and {rising:.0%} of equal times are in the order of item ids, so that the "
                "held-out item can be guessed from its id"
            )
        found.append(
            f"{facts.tied:.0%} of the evaluated users have several interactions at their latest "
            f"time: the order of the file's rows decides which of them is held out{order}"
        )
    if n["evaluated"] < 0.5 * n["users"]:
        found.append(
            f"only {n['evaluated'] / n['users']:.0%} of the users have the {MIN_INTERACTIONS} "
            "items that evaluation needs: results say nothing of the others"
        )
    if n["evaluated"] < 500:
        found.append(
            f"{n['evaluated']} evaluated users are few: an interval of HR@10 will be about "
            f"{0.96 / np.sqrt(n['evaluated']):.2f} to either side, and most differences are noise"
        )
    if facts.cold >= 0.05:
        found.append(
            f"for {facts.cold:.0%} of the evaluated users the test item is new: no model of this "
            "kind can recommend it, and all of them look worse for it"
        )
    if facts.n_untouched < 100:
        found.append(
            f"a user has touched all but {facts.n_untouched} items: there are fewer than 100 to "
            "sample, so that ranks of such users are not comparable with others'"
        )
    if facts.repeated >= 0.05:
        found.append(
            f"{facts.repeated:.0%} of the rows repeat a pair: repeated consumption counts once, "
            "at its first time, and items seen before are never recommended again"
        )
    return found


def _facts(
    interactions: Interactions, split: Split, n_rows: int, n_kept: int, is_given: bool
) -> Facts:
    per_user = np.diff(interactions.indptr)
    users, positives = split.test.users, split.test.items
    times, ends = interactions.timestamps, interactions.indptr[users + 1] - 1
    before = ends[per_user[users] > 1]
    same_user = np.ones(len(times) - 1, bool)
    same_user[interactions.indptr[1:-1] - 1] = False
    is_tie = same_user & (times[1:] == times[:-1])
    is_rising = interactions.items[1:] > interactions.items[:-1]
    days = None
    if interactions.has_times and not is_given:
        first, last = (
            time.strftime("%Y-%m-%d", time.gmtime(t)) for t in (times.min(), times.max())
        )
        days = (first, last)
    return Facts(
        interactions.name,
        {
            "rows": n_rows,
            "kept": n_kept,
            "users": interactions.n_users,
            "items": interactions.n_items,
            "interactions": interactions.n_interactions,
            "evaluated": len(users),
            "train": len(split.train.items),
        },
        days,
        per_user,
        np.bincount(interactions.items, minlength=interactions.n_items),
        float((times[before] == times[before - 1]).sum() / len(users)),
        float(is_rising[is_tie].mean()) if is_tie.any() else 0.5,
        float((split.train_and_validation.popularity[positives] == 0).mean()),
        1 - interactions.n_interactions / n_kept,
        int(interactions.n_items - per_user.max()),
        is_given,
        interactions.columns_read,
        interactions.remarks,
    )


def _spread(counts: NDArray[np.int64]) -> str:
    return (
        f"{counts.min():,} to {counts.max():,}, median {np.median(counts):,.0f}, "
        f"mean {counts.mean():,.1f}"
    )


def _histogram(counts: NDArray[np.int64]) -> list[str]:
    """Returns a line with a bar for each doubling of the count."""
    last = int(counts.max()).bit_length()
    edges = [2**n for n in range(int(counts.min()).bit_length() - 1, last + 1)]
    sizes = np.histogram(counts, edges)[0]
    lines = []
    for (low, high), size in zip(pairwise(edges), sizes, strict=True):
        bar = "#" * int(np.ceil(_BAR * size / sizes.max()))
        range_ = f"{low:,}" if low == high - 1 else f"{low:,} to {high - 1:,}"
        lines.append(f"  {range_:>18}  {bar:<{_BAR}}  {size:,}")
    return lines
