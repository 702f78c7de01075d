"""A record written before the packages: its study continues, and its baselines are as they were."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import create_trial

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.item_knn import ItemKNNHyperparameters
from ncf.protocol.splitting import Split
from ncf.study import journal
from ncf.study.baselines import contestant, tune
from ncf.study.storage import open_storage
from tests.study.planted import AnsweringWorkers, outcome, plan_of

DEFAULTS = Hyperparameters(embedding_dim=32, recency=1.0)
NOW: dict[str, Any] = {"data": "toy", "n_sampled_negatives": 100, "defaults": asdict(DEFAULTS)}
OLD_DEFAULTS = {  # every field that a setting of GMF had then
    "optimizer": "sgd",
    "initialization": "spectral",
    "embedding_dim": 32,
    "learning_rate": DEFAULTS.learning_rate,
    "learning_rate_decay": DEFAULTS.learning_rate_decay,
    "weight_decay": DEFAULTS.weight_decay,
    "n_negatives": DEFAULTS.n_negatives,
    "batch_size": DEFAULTS.batch_size,
    "init_rms": DEFAULTS.init_rms,
    "popular_negatives": DEFAULTS.popular_negatives,
    "recency": 1.0,
    "learn_output_weight": False,
    "learn_item_bias": True,
}
OLD: dict[str, Any] = {"data": "toy", "n_candidates": 100, "defaults": OLD_DEFAULTS}
KNN = {"n_neighbors": 213, "similarity": "tfidf", "k1": 1.2, "b": 0.75, "recency": 1.2}


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """Returns a study whose record names things as the old code did."""
    study = journal.open_study(open_storage(str(tmp_path / "optuna.journal")), "toy", OLD)
    baseline = {
        "setting": KNN,
        "outcome": asdict(outcome(63, 0.48)),
        "n_trials": 70,
        "seconds": 24.4,
        "budget": 24.5,
    }
    study.set_user_attr("baselines", {"itemknn": baseline})
    return study


def test_a_study_of_the_old_names_continues(study: optuna.Study, tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "optuna.journal"))
    again = journal.open_study(storage, "toy", NOW)
    assert again.user_attrs["id"] == study.user_attrs["id"]
    for changed in (
        {**NOW, "n_sampled_negatives": 99},
        {**NOW, "defaults": asdict(Hyperparameters(embedding_dim=16))},
    ):
        with pytest.raises(ValueError, match="study 'toy' was begun with other settings"):
            journal.open_study(storage, "toy", changed)


def test_a_trial_that_names_no_model_is_of_gmf() -> None:
    trial = create_trial(value=0.5, user_attrs={"hyperparameters": OLD_DEFAULTS})
    assert journal.setting_of(trial) == DEFAULTS


def test_a_baseline_that_is_kept_with_the_study_is_not_tuned_again(
    study: optuna.Study, split: Split
) -> None:
    workers = AnsweringWorkers(lambda task: outcome(task.number, 0.2))
    for _ in tune("itemknn", study, plan_of(split), workers):
        pass
    assert workers.tasks == []
    found = contestant("itemknn", study)
    assert found is not None
    assert found.setting == ItemKNNHyperparameters(
        n_neighbors=213, similarity="tfidf", k1=1.2, b=0.75, recency=1.2
    )
    # The digest of a conclusion is made of these: were they others, test would be read again.
    assert (found.name, found.number, found.recorded, found.epochs) == ("itemknn", 0, KNN, 0)
    assert found.note == "70 settings in 24 s of worker time"
