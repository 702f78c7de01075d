"""What the results on test do and do not establish: the verdict on a study, in sentences.

It is the same on the terminal, on the study's page in MLflow and in the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ncf.protocol.intervals import SMALLEST_P, holm
from ncf.protocol.metrics import Objective
from ncf.study.best import best_first, reason, title_of
from ncf.study.results import Conclusion, Contestant, Result, read_before

_LEVEL = 0.05  # below which a corrected p-value tells a difference


def verdict(conclusion: Conclusion, objective: Objective) -> list[str]:
    """Returns what the results on test do and do not establish, as sentences.

    Whether a difference is one is read from its p-value, after Holm's correction over the
    baselines: below 0.05 it is. The comparisons on the sampled candidates and those over the full
    catalogue are corrected each by themselves.

    Args:
        conclusion: What the study ended with.
        objective: What was maximised; its metric is compared on both.
    """
    metric = objective.sampled
    winner, *baselines = conclusion.results
    title, names = title_of(winner), [title_of(one) for one in baselines]
    sampled = [one.difference for one in baselines if one.difference is not None]
    full = [one.difference_full for one in baselines if one.difference_full is not None]
    sentences: list[str] = []
    if baselines and len(sampled) == len(baselines):
        where = f"By test {metric.label} on the sampled candidates, with p after Holm's correction"
        sentences.append(_contest(where, title, names, sampled))
    if baselines and len(full) == len(baselines):
        where = (
            "Over the full catalogue, with the lead, its 95% interval, and p after Holm's "
            "correction over these comparisons alone"
        )
        sentences.append(_contest(where, title, names, full, has_leads=True))
        sentences += _orders(conclusion.results, metric)
    if baselines:
        best, *_ = best_first(conclusion.contestants, "any", objective)
        is_best = best is conclusion.winner
        why = reason(conclusion.contestants, objective)
        sentences = [why, *_beaten(title, names, sampled, full, is_best), *sentences]
    if len(conclusion.readings) > 1:
        sentences.insert(0, f"{read_before(conclusion.readings)}.")
    sentences.append(_seeds(conclusion.winner, objective))
    tried = [(title_of(one), one.n_settings) for one in conclusion.contestants]
    if all(number > 0 for _, number in tried):
        each = ", ".join(f"{name} {number}" for name, number in tried)
        sentences.append(f"Settings that were tried: {each}.")
    return sentences


def p_in_words(p_value: float, raw: float | None = None) -> str:
    """Returns a p-value; where no resample was as far, it says that it may be smaller.

    Args:
        p_value: The p-value.
        raw: What it was before it was corrected for the number of comparisons; None if it is not.

    >>> p_in_words(0.683), p_in_words(1 / 10_001)
    ('0.68', '<= 0.0001')
    """
    is_smallest = (p_value if raw is None else raw) <= SMALLEST_P * (1 + 1e-9)
    return f"{'<= ' if is_smallest else ''}{p_value:.2g}"


def _beaten(
    winner: str,
    names: Sequence[str],
    sampled: Sequence[Sequence[float]],
    full: Sequence[Sequence[float]],
    is_best: bool,
) -> list[str]:
    """Returns what a winner is that another beats on test, as a sentence; nothing where none does.

    `is_best` says whether it was the best of all on validation.
    """
    parts = []
    for where, differences in (("the sampled candidates", sampled), ("the full catalogue", full)):
        groups = zip(names, _groups(differences), strict=False)  # none in an old record
        better = [name for name, group in groups if group == "worse"]
        if better:
            parts.append(f"{_and(better)} {'beat' if better[1:] else 'beats'} it on {where}")
    true_name = f"The winner is the best of the {winner} trials, and not the best model here"
    if is_best:
        true_name = f"{winner} was the best on validation, and is not the best on test"
    return [f"{true_name}: {'; '.join(parts)}."] if parts else []


def _groups(differences: Sequence[Sequence[float]]) -> list[str]:
    """Returns whether the winner is "better" or "worse" than each, or cannot be told from it."""
    corrected = holm([difference[3] for difference in differences])
    return [
        "cannot be told" if p >= _LEVEL else "better" if difference[0] > 0 else "worse"
        for difference, p in zip(differences, corrected, strict=True)
    ]


def _contest(
    where: str,
    winner: str,
    names: Sequence[str],
    differences: Sequence[Sequence[float]],
    has_leads: bool = False,
) -> str:
    """Returns which baselines the winner is better than, cannot be told from, and is worse than.

    Args:
        where: On what it was compared, which begins the sentence.
        winner: The title of the winner.
        names: The titles of the others.
        differences: The winner's difference to each of them, as in `Result.difference`.
        has_leads: Whether the differences are to stand in the sentence, as no table has them.
    """
    raw = [difference[3] for difference in differences]
    corrected = holm(raw)

    def judged(difference: Sequence[float], p_value: float) -> str:
        # a corrected value may be that of a smaller one, whose bound it then has
        smallest = min(one for one, p in zip(raw, corrected, strict=True) if p == p_value)
        words = f"p {p_in_words(p_value, smallest)}"
        return f"{with_ends(difference)}, {words}" if has_leads else words

    groups = _groups(differences)
    parts = []
    for group, words, word in (
        ("better", "is better than", "and"),
        ("cannot be told", "cannot be told from", "or"),
        ("worse", "is worse than", "and"),
    ):
        members = {
            name: judged(difference, p)
            for name, difference, p, its in zip(names, differences, corrected, groups, strict=True)
            if its == group
        }
        if members:
            parts.append(f"{words} {_with_p(members, word)}")
    return f"{where}, {winner} {'; it '.join(parts)}."


def _with_p(members: Mapping[str, str], word: str) -> str:
    """Returns names with their p-values, which stand once where they are all the same.

    >>> _with_p({"a": "p 0.1", "b": "p 0.1"}, "or"), _with_p({"a": "p 0.1", "b": "p 0.2"}, "or")
    ('a or b (each p 0.1)', 'a (p 0.1) or b (p 0.2)')
    """
    if len(members) > 1 and len({*members.values()}) == 1:
        return f"{_and([*members], word)} (each {next(iter(members.values()))})"
    return _and([f"{name} ({p})" for name, p in members.items()], word)


def _orders(results: Sequence[Result], metric: Objective) -> list[str]:
    """Returns a sentence where the two ways to rank disagree about the order; else none."""
    by_sampled = sorted(results, key=lambda one: -metric.value(one.test))
    by_full = sorted(results, key=lambda one: -metric.value(one.test_full))
    if by_sampled == by_full:
        return []
    return [
        "The sampled candidates and the full catalogue put the models into different orders, in "
        "which neighbours may differ by chance alone."
    ]


def _seeds(winner: Contestant, objective: Objective) -> str:
    """Returns how much the winner's validation varies with the seed."""
    values = winner.seed_values
    if len(values) > 1:
        mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
        return (
            f"Over {len(values)} fresh seeds the winner's validation {objective.label} is "
            f"{mean:.4f} with a standard deviation of {sd:.4f}; the intervals are over users, for "
            "one seed of each model, so that another seed could change a close comparison."
        )
    if values:
        return (
            "The winner was trained again with one fresh seed only, which tells no variance: "
            f"validation {objective.label} {values[0]:.4f}."
        )
    if winner.is_confirmed:
        return (
            "Nothing in the winner is random, so that fresh seeds could not change it; its "
            "validation is still the best of several settings, and so a little too high."
        )
    return (
        "The winner was not trained again with fresh seeds: its validation is the best of many, "
        "and so too high."
    )


def with_ends(difference: Sequence[float]) -> str:
    """Returns a mean difference and its interval."""
    mean, low, high = difference[:3]
    return f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"


def _and(names: Sequence[str], word: str = "and") -> str:
    """Returns names as a sentence lists them.

    >>> _and(["a"]), _and(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return f" {word} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
