"""Hyperparameters refuse what cannot be trained, and tell each other apart."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import pytest

from ncf.models.gmf.setting import Hyperparameters, describe
from ncf.search.experiment import Experiment


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimizer", "rmsprop"),
        ("initialization", "normal"),
        ("embedding_dim", 0),
        ("embedding_dim", 8.0),
        ("n_negatives", 0),
        ("n_negatives", -1),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", -0.1),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("learning_rate_decay", 0.0),
        ("weight_decay", -1e-9),
        ("weight_decay", math.nan),
        ("weight_decay", math.inf),
        ("init_rms", 0.0),
    ],
)
def test_impossible_values_are_refused_with_rule_and_value(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field}.* must hold, but got") as raised:
        replace(Hyperparameters(), **{field: value})
    assert repr(value) in str(raised.value)


def test_edges_are_accepted() -> None:
    edge = Hyperparameters(
        optimizer="adam",
        initialization="xavier",
        embedding_dim=1,
        n_negatives=1,
        batch_size=1,
        weight_decay=0.0,
    )
    assert Hyperparameters(**asdict(edge)) == edge


@pytest.mark.parametrize("field", ["epochs", "patience", "n_sampled_negatives"])
def test_an_experiment_needs_counts_of_one_or_more(field: str) -> None:
    defaults = Hyperparameters()

    def with_count(value: int) -> Experiment:
        counts: dict[str, Any] = {field: value}
        return Experiment("name", "data", defaults, lambda trial: defaults, **counts)

    assert getattr(with_count(1), field) == 1
    with pytest.raises(ValueError, match=f"`{field} >= 1` must hold, but got 0"):
        with_count(0)


def test_runs_are_named_by_what_was_searched() -> None:
    setting = Hyperparameters(
        optimizer="adam", embedding_dim=24, learning_rate=0.0123, n_negatives=4, weight_decay=0.005
    )
    assert describe(setting) == "dim 24 · lr 0.012 · neg 4 · L2 0.005 · adam, batch 1024"
    varied = [
        replace(setting, **change)
        for change in (
            {"embedding_dim": 25},
            {"learning_rate": 0.02},
            {"n_negatives": 5},
            {"weight_decay": 0.1},
            {"batch_size": 512},
            {"optimizer": "sgd"},
        )
    ]
    assert len({describe(one) for one in [setting, *varied]}) == 7
    assert "batch" not in describe(replace(setting, optimizer="sgd"))  # which has no batches


def test_files_written_before_may_call_the_sampled_negatives_candidates() -> None:
    defaults = Hyperparameters()
    before = Experiment("name", "data", defaults, lambda trial: defaults, n_candidates=99)
    assert before.n_sampled_negatives == 99
    assert replace(before, data="other").n_sampled_negatives == 99
