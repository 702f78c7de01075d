"""The best trial: fitted on train and validation, read on test once, registered."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from safetensors.torch import save_file

from ncf import journal, registry
from ncf.evaluation import full_ranks, sampled_ranks
from ncf.experiment import Hyperparameters
from ncf.gmf import GMF
from ncf.metrics import summarize
from ncf.models import log_model, package
from ncf.recommender import Catalogue
from ncf.seeds import Purpose, spawn
from ncf.splitting import Split
from ncf.study import Settings
from ncf.tracking import Tracker
from ncf.training import train


@dataclass(frozen=True)
class Winner:
    """What a study ended with.

    Attributes:
        number: The best trial.
        epochs: Epochs that its model was fitted for: the trial's best epoch.
        test: Test metrics on the sampled candidates.
        test_full: Test metrics over the full catalogue.
        model_uri: The model in MLflow.
        name: Name in the registry; empty where it was not to be registered.
        version: Version there.
        decision: What became of the alias `champion`.
    """

    number: int
    epochs: int
    test: dict[str, float]
    test_full: dict[str, float]
    model_uri: str
    name: str = ""
    version: str = ""
    decision: str = ""


def fit(trial: FrozenTrial, split: Split, settings: Settings) -> GMF:
    """Trains the trial's setting on train and validation, for its best epoch count."""
    *_, last = train(
        split.train_and_validation,
        Hyperparameters(**trial.user_attrs["hyperparameters"]),
        epochs=journal.outcome_of(trial).best_epoch,
        seed=spawn(settings.seed, Purpose.REFIT, trial.number),
        device=settings.device,
    )
    return last.model


def crown(
    trial: FrozenTrial,
    split: Split,
    candidates: NDArray[np.int32],
    catalogue: Catalogue,
    tracker: Tracker,
    settings: Settings,
    *,
    name: str | None,
    protocol: Mapping[str, str],
    study: str,
    folder: Path,
) -> Winner:
    """Fits the best trial, evaluates it on test, logs it with the study and registers it.

    Args:
        trial: The best trial by validation.
        split: The data, test included.
        candidates: Test candidates (V, C).
        catalogue: What the model carries.
        tracker: The study in MLflow.
        settings: Of the search.
        name: Name in the registry, None for not to register.
        protocol: What must be equal for two validation metrics to be comparable.
        study: Name of the study.
        folder: For files on their way to MLflow.
    """
    outcome = journal.outcome_of(trial)
    model = fit(trial, split, settings)
    test = summarize(sampled_ranks(model, split.test.users, candidates), settings.k)
    seen = split.train_and_validation
    test_full = summarize(full_ranks(model, split.test, seen), settings.k)

    weights, package_folder = folder / "winner.safetensors", folder / "winner"
    save_file(model.to("cpu").state_dict(), weights)
    hyperparameters = Hyperparameters(**trial.user_attrs["hyperparameters"])
    package(package_folder, weights, hyperparameters, catalogue)
    model_id = log_model(
        tracker,
        tracker.parent,
        f"winner-of-trial-{trial.number:04d}",
        package_folder,
        outcome.best_epoch,
    )
    metrics = {
        f"{prefix}/{key}": value
        for prefix, values in (
            ("best", outcome.metrics),
            ("best_full", outcome.metrics_full),
            ("test", test),
            ("test_full", test_full),
        )
        for key, value in values.items()
    }
    weights.unlink()
    shutil.rmtree(package_folder)
    tracker.log_result(metrics, outcome.best_epoch, model_id)
    winner = Winner(trial.number, outcome.best_epoch, test, test_full, f"models:/{model_id}")
    if name is None:
        return winner
    tags = {key.replace("/", "_"): repr(value) for key, value in metrics.items()}
    version = registry.register(
        tracker.client, name, model_id, tracker.parent, {**tags, **protocol, "study": study}
    )
    decision = registry.promote(
        tracker.client, version, f"best_{settings.objective}", tuple(protocol)
    )
    return replace(winner, name=name, version=str(version.version), decision=decision)
