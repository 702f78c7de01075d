"""What tests read of a study that has been searched: its trials, and its runs in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient
from mlflow.entities import Run

from ncf.study import journal
from ncf.study.storage import open_storage


def study_of(folder: Path, name: str = "shop") -> optuna.Study:
    """Returns a study that was searched in the folder."""
    storage = open_storage(str(folder / "mlruns" / "optuna.journal"))
    return optuna.load_study(storage=storage, study_name=name)


def results_of(study: optuna.Study) -> list[tuple[Any, ...]]:
    """Returns all that must be equal in two searches that are to be the same."""
    results = []
    for trial in study.get_trials():
        end = journal.outcome_of(trial)
        outcome = (end.best_epoch, end.metrics, end.metrics_full)
        reports = trial.intermediate_values
        results.append((trial.number, trial.state, trial.params, trial.value, reports, outcome))
    return results


def runs_of(client: MlflowClient, study: str = "shop") -> tuple[Run, dict[int, Run]]:
    """Returns the study's run and its whole trials' runs by number."""
    experiment = client.get_experiment_by_name("shop")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"tags.`ncf.study` = '{study}'")
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    whole = [run for run in runs if run.data.tags.get("ncf.state") in ("finished", "pruned")]
    return parent, {
        int(run.data.tags["ncf.trial"]): run for run in whole if "ncf.trial" in run.data.tags
    }
