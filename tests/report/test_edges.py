"""Which bounds of a search space the best trial is at."""

from __future__ import annotations

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from ncf.report.edges import edges_of

SPACE: dict[str, BaseDistribution] = {
    "dim": CategoricalDistribution([32, 64, 128]),
    "rate": FloatDistribution(0.005, 0.05, log=True),
    "share": FloatDistribution(0.0, 1.0),
    "negatives": IntDistribution(3, 16),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}


def edges(**params: Any) -> str:
    usual = {"dim": 64, "rate": 0.02, "share": 0.5, "negatives": 7, "kind": "a"}
    trial = create_trial(
        state=TrialState.COMPLETE, value=0.5, params=usual | params, distributions=SPACE
    )
    return " ".join(edges_of(trial))


def test_a_trial_in_the_middle_is_at_no_edge() -> None:
    assert edges() == ""


def test_the_bounds_to_widen_are_named() -> None:
    assert "dim 128 (at most 128)" in edges(dim=128)
    assert "dim 32 (at least 32)" in edges(dim=32)
    both = edges(rate=0.0051, negatives=16)  # near is enough, on the scale of the search
    assert "rate 0.0051 (at least 0.005), negatives 16 (at most 16)" in both
    assert "these bounds" in both


def test_ends_that_nothing_lies_beyond_are_not_named() -> None:
    assert edges(share=0.0) == edges(share=1.0) == edges(kind="c") == ""
