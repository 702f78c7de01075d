"""Look before you train: what a data set holds, how it would be judged, and what would mislead."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ncf.commands.data_facts import Facts, gather
from ncf.protocol.sequence import N_FOLLOWING, SESSION, Sequence
from ncf.protocol.splitting import MIN_INTERACTIONS

__all__ = ["Facts", "gather", "in_words", "warnings"]

_BAR = 36  # characters of the longest bar
_DAY = 86_400  # seconds
FEW_USERS = 500  # of which the best of many trials may be the best by luck


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
    if n["empty"]:
        below = f"{n['empty']:,} have an empty cell and are left out; "
    if n_below := n["rows"] - n["empty"] - n["kept"]:
        below += f"{n_below:,} are below --min-rating; "
    split = [
        f"leave-one-out by {order}: a user's latest interaction is test, the one before "
        "validation, the rest train"
    ]
    if facts.is_given:
        split = [
            "ready-made: test items and their negatives are given, validation is each user's "
            "latest of train"
        ]
    elif facts.is_by_time:
        split = [facts.protocol, *facts.notes]
    others = "" if facts.is_by_time else ", the others only train"
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
        *(f"  {line}" for line in split),
        f"  {n['evaluated']:,} of {n['users']:,} users are evaluated "
        f"({n['evaluated'] / n['users']:.1%}){others}",
        f"  {n['train']:,} interactions train a trial; the winner has validation too",
        "  the held-out item is ranked among 100 items that the user never touched, and among "
        "all of them",
        f"  cold: {facts.cold:.1%} of what an evaluated user is asked for, on average, nobody has "
        "in train or validation",
        "",
        *([] if facts.sequence is None else [*_order_in_words(facts, facts.sequence), ""]),
    ]
    problems = warnings(facts)
    lines += [f"WARNING: {problem}" for problem in problems] or ["Nothing here would mislead."]
    return "\n".join(lines)


def _order_in_words(facts: Facts, found: Sequence) -> list[str]:
    """Returns what the order in time decides and tells, a line each."""
    verdict = "the order says little of the next item"
    # Two standard errors of a share of so many users, in the least one user's.
    share = max(found.followed, 1 / max(1, facts.n_validated))
    noise = 2 * np.sqrt(share / max(1, facts.n_validated))
    if abs(found.followed - found.followed_shuffled) < noise < 0.05:
        verdict = "the order says little of the next item"
    elif abs(found.followed - found.followed_shuffled) < noise:
        verdict = f"{facts.n_validated} users are too few to tell what the order says"
    elif found.followed > max(0.01, 1.5 * found.followed_shuffled):
        verdict = "the order says much of the next item, so that models which know it gain"
    test = "" if facts.is_given else f"the test item of {found.tied_test:.0%} of the users and "
    before = "the user's item before"
    if facts.is_by_time:
        before = "the latest item that is known of the user"
    sessions = f"  sessions: {_within(facts, found)}{before}"
    if facts.resolution == _DAY:
        sessions += ": the times are dates alone, and do not tell sessions"
    elif not facts.is_by_time:
        sessions += "; leave-one-out rewards continuing such a session"
    if facts.is_by_time:
        found_first = [sessions]
        leak = "none: all that is trained on is earlier than what is asked for"
    else:
        found_first = [
            sessions,
            f"  ties: the order of rows with equal times decides {test}the validation item of "
            f"{found.tied_validation:.0%}",
        ]
        leak = (
            f"{found.later:.0%} of the train interactions are later than a user's test item, on "
            "average; a model in use has no such view of the future: compare --split time"
        )
    return [
        "The order in time:",
        *found_first,
        f"  next items: {found.followed:.1%} of the validation items are among the "
        f"{N_FOLLOWING} that most often follow the item before, {found.followed_shuffled:.1%} "
        f"where each user's order is shuffled: {verdict}",
        f"  leak: {leak}",
    ]


def _within(facts: Facts, found: Sequence) -> str:
    """Returns how many validation items came how soon after another item, a sentence's beginning.

    Of times that are whole minutes, those within a session's seconds are equal or neighbours.
    """
    how = {
        _DAY: "on the same day as ",
        60: "in the same minute as, or the minute after, ",
    }.get(facts.resolution, f"within {SESSION} seconds of ")
    return f"{found.in_session:.0%} of the validation items came {how}"


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
    sequence = facts.sequence
    if sequence is not None and sequence.in_session >= 0.25 and facts.resolution < _DAY:
        found.append(
            f"{_within(facts, sequence)}the user's item before: results tell more of "
            "continuing a session than of what a person wants another day"
        )
    is_left_out = not facts.is_given and not facts.is_by_time
    if sequence is not None and sequence.tied_test >= 0.05 and is_left_out:
        order = ""
        if abs(facts.rising - 0.5) > 0.2:
            rising = max(facts.rising, 1 - facts.rising)
            order = (
                f", and {rising:.0%} of equal times are in the order of item ids, so that the "
                "held-out item can be guessed from its id"
            )
        found.append(
            f"{sequence.tied_test:.0%} of the evaluated users have several interactions at their "
            f"latest time: the order of the file's rows decides which of them is held out{order}"
        )
    if n["evaluated"] < 0.5 * n["users"] and facts.is_by_time:
        found.append(
            f"only {n['evaluated'] / n['users']:.0%} of the users have items both before and in "
            "the test period: results say nothing of the others, least of new users"
        )
    elif n["evaluated"] < 0.5 * n["users"]:
        found.append(
            f"only {n['evaluated'] / n['users']:.0%} of the users have the {MIN_INTERACTIONS} "
            "items that evaluation needs: results say nothing of the others"
        )
    if facts.n_validated < min(FEW_USERS, n["evaluated"]):
        found.append(
            f"trials are judged by {facts.n_validated} users, which is few: the best of many may "
            "be best by luck; --targets all asks each of them for all items of the period, and an "
            "earlier cut finds more users, as in --split time:0.8,0.9"
        )
    if n["evaluated"] < FEW_USERS:
        found.append(
            f"{n['evaluated']} evaluated users are few: an interval of HR@10 will be about "
            f"{0.96 / np.sqrt(n['evaluated']):.2f} to either side, and most differences are noise"
        )
    if facts.cold >= 0.05:
        found.append(
            f"{facts.cold:.0%} of the test items, on average over users, are new: no model of this "
            "kind can recommend them, and all of them look worse for it"
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
