"""Hyperparameters refuse what cannot be trained, and tell each other apart."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from ncf.models.gmf.setting import Hyperparameters, describe
from ncf.models.neumf.setting import NeuMFHyperparameters
from ncf.study.experiment import Experiment
from ncf.study.experiment_file import load_experiment
from ncf.study.proposals import Proposals, describe_space


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


def test_numpy_numbers_are_taken_as_the_numbers_that_they_are() -> None:
    dims: Any = np.array([16, 32])
    setting = Hyperparameters(
        embedding_dim=dims[1],
        n_negatives=cast(Any, np.int32(3)),
        learning_rate=cast(Any, np.float32(0.25)),
        learn_item_bias=cast(Any, np.bool_(False)),
    )
    assert setting == Hyperparameters(
        embedding_dim=32, n_negatives=3, learning_rate=0.25, learn_item_bias=False
    )
    assert json.loads(json.dumps(asdict(setting))) == asdict(setting)
    assert NeuMFHyperparameters(embedding_dim=dims[0]).embedding_dim == 16
    experiment = Experiment("name", "data", setting, lambda _: setting, epochs=dims[0])
    assert json.dumps(experiment.epochs) == "16"
    with pytest.raises(ValueError, match="`embedding_dim >= 0` must hold, but got -1"):
        Hyperparameters(embedding_dim=dims[0] - 17)


EXPERIMENT = """
import numpy as np
from ncf import Experiment, Hyperparameters
import spaces_of_this_test

def search_space(trial):
    from more_of_this_test import RATE
    dims = spaces_of_this_test.DIMS
    return Hyperparameters(
        embedding_dim=trial.suggest_categorical("embedding_dim", dims), learning_rate=RATE
    )

defaults = Hyperparameters(embedding_dim=np.int64(32), learning_rate=0.5)
experiment = Experiment("name", "data", defaults, search_space)
"""


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment file that imports two modules beside it, one of them when it is asked."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("spaces_of_this_test", "more_of_this_test"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    dims = "import numpy as np\nDIMS = [*np.arange(16, 48, 16)]"
    (tmp_path / "spaces_of_this_test.py").write_text(dims)
    (tmp_path / "more_of_this_test.py").write_text("RATE = 0.5")
    file = tmp_path / "experiment.py"
    file.write_text(EXPERIMENT)
    return file


def test_an_experiment_imports_modules_beside_it(beside: Path) -> None:
    experiment = load_experiment(beside)
    assert sys.path[0] != str(beside.parent)
    record = Proposals("name", experiment.defaults, experiment.search_space, seed=0, lag=8)
    setting, trial = record.next([])
    assert setting == experiment.defaults
    assert json.dumps(trial.params) == '{"embedding_dim": 32}'
    (described,) = describe_space(experiment.search_space).values()
    assert '"choices": [16, 32]' in described[0]


def test_a_mistake_in_a_module_beside_it_is_told_with_both_places(beside: Path) -> None:
    (beside.parent / "spaces_of_this_test.py").write_text("DIMS = [16,\n\n")
    with pytest.raises(
        ValueError, match=r"experiment\.py, line 4: SyntaxError: .*this_test\.py, line 1"
    ):
        load_experiment(beside)
