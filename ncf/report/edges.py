"""Where the best trial lies at the edge of its search space, beyond which a better one may lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

_NEAR = 0.02  # of the range, from its end: so near a value counts as at the edge
_NATURAL = (0.0, 1.0)  # ends beyond which most parameters mean nothing: shares, counts, weights


def edges_of(trial: FrozenTrial) -> list[str]:
    """Returns a sentence that names the bounds to widen; none where the trial is at no edge.

    Args:
        trial: The best trial, with what it was searched in.
    """
    word = {False: "at least", True: "at most"}
    found = [
        f"{name} {_text(trial.params[name])} ({word[is_high]} {_text(bound)})"
        for name, distribution in trial.distributions.items()
        for bound, is_high in _at_edge(distribution, trial.params[name])
    ]
    if not found:
        return []
    it = "this bound" if len(found) == 1 else "these bounds"
    return [
        f"Trial {trial.number} lies at the edge of what was searched: {', '.join(found)}. To widen "
        f"{it} in the experiment's file, under another --study, may find a better one."
    ]


def _at_edge(distribution: BaseDistribution, value: float | str) -> Sequence[tuple[float, bool]]:
    """Returns the end of a range that a value is at, and whether it is the upper one."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        if len(choices) < 3 or not all(type(one) in (int, float) for one in choices):
            return ()  # two choices have nothing but ends
        low, high, is_log = float(min(choices)), float(max(choices)), False  # type: ignore[type-var, arg-type]
        near = 0.0
    elif isinstance(distribution, FloatDistribution | IntDistribution):
        low, high, is_log = distribution.low, distribution.high, distribution.log
        near = _NEAR
    else:
        return ()
    if low == high:
        return ()
    start, at, end = (math.log(x) if is_log else x for x in (low, float(value), high))
    ends = ((low, False, at - start), (high, True, end - at))
    return [
        (bound, is_high)
        for bound, is_high, distance in ends
        if distance <= near * (end - start) and bound not in _NATURAL
    ]


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
