"""The best trial: fitted on train and validation, read on test once, registered."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from ncf import journal, registry
from ncf.evaluation import full_ranks, sampled_ranks
from ncf.experiment import Hyperparameters
from ncf.metrics import summarize
from ncf.models import log_model, package
from ncf.preparation import Prepared
from ncf.recommender import Catalogue
from ncf.seeds import Purpose, spawn
from ncf.tracking import Tracker

if TYPE_CHECKING:
    from ncf.gmf import GMF


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


def fit(trial: FrozenTrial, prepared: Prepared) -> GMF:
    """Trains the trial's setting on train and validation, for its best epoch count."""
    import torch  # here: it takes seconds to load, and only the winner needs it

    from ncf.training import train

    torch.set_num_threads(1)  # as in the workers: the same result on any number of cores
    *_, last = train(
        prepared.split.train_and_validation,
        Hyperparameters(**trial.user_attrs["hyperparameters"]),
        epochs=journal.outcome_of(trial).best_epoch,
        seed=spawn(prepared.settings.seed, Purpose.REFIT, trial.number),
        device=prepared.settings.device,
    )
    return last.model


def crown(
    trial: FrozenTrial,
    prepared: Prepared,
    tracker: Tracker,
    catalogue: Catalogue,
    folder: Path,
    name: str | None,
) -> Winner:
    """Fits the best trial, reads test, logs the model with the study's run and registers it.

    Args:
        trial: The best trial by validation.
        prepared: The search.
        tracker: The study in MLflow.
        catalogue: What the model carries.
        folder: For files on their way to MLflow.
        name: Name in the registry, None for not to register.
    """
    outcome, k, split = journal.outcome_of(trial), prepared.settings.k, prepared.split
    model = fit(trial, prepared)
    test = summarize(sampled_ranks(model, split.test.users, prepared.test_candidates), k)
    test_full = summarize(full_ranks(model, split.test, split.train_and_validation), k)
    model_id = _log(model, trial, tracker, catalogue, folder)
    metrics = {
        f"{prefix}/{key}": value
        for prefix, values in (
            ("validation_best", outcome.metrics),
            ("validation_full", outcome.metrics_full),
            ("test", test),
            ("test_full", test_full),
        )
        for key, value in values.items()
    }
    tracker.log_result(metrics, outcome.best_epoch, model_id)
    winner = Winner(trial.number, outcome.best_epoch, test, test_full, f"models:/{model_id}")
    if name is None:
        return winner
    protocol = {
        "fingerprint": prepared.facts.fingerprint,
        "protocol": f"leave-one-out, {prepared.experiment.n_candidates} negatives, k {k}, "
        f"seed {prepared.settings.seed}",
    }
    tags = {
        key.replace("/", "_"): f"{value:.6f}" for key, value in metrics.items() if "mrr" not in key
    }
    tags |= {**protocol, "study": prepared.study_name, "trial": str(trial.number)}
    version = registry.register(tracker.client, name, model_id, tracker.parent, tags)
    metric = f"validation_best_{prepared.settings.objective}"
    decision = registry.promote(tracker.client, version, metric, tuple(protocol))
    return replace(winner, name=name, version=str(version.version), decision=decision)


def _log(
    model: GMF, trial: FrozenTrial, tracker: Tracker, catalogue: Catalogue, folder: Path
) -> str:
    from safetensors.torch import save_file

    weights, packaged = folder / "winner.safetensors", folder / "winner"
    save_file(model.to("cpu").state_dict(), weights)
    hyperparameters = Hyperparameters(**trial.user_attrs["hyperparameters"])
    package(packaged, weights, hyperparameters, catalogue)
    step = journal.outcome_of(trial).best_epoch
    name = f"winner-of-trial-{trial.number:04d}"
    model_id = log_model(tracker, tracker.parent, name, packaged, step)
    weights.unlink()
    shutil.rmtree(packaged)
    return model_id
