"""A study's trials and results as pandas tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pandas as pd

from ncf.models.table import title
from ncf.study import journal


def trials_of(study: optuna.Study) -> pd.DataFrame:
    """Returns a row for each trial that has ended."""
    rows: list[dict[str, Any]] = []
    for trial in study.get_trials(deepcopy=False):
        if not trial.state.is_finished():
            continue
        row: dict[str, Any] = {
            "number": trial.number,
            "model": title(trial.user_attrs.get("model", "gmf")),
            "state": "finished" if trial.state.name == "COMPLETE" else trial.state.name.lower(),
        }
        if journal.is_trained(trial):
            outcome = journal.outcome_of(trial)
            row["value"] = trial.value if trial.state.name == "COMPLETE" else None
            row |= outcome.metrics
            row |= {f"full_{metric}": value for metric, value in outcome.metrics_full.items()}
            row |= {"epochs": outcome.epochs, "best_epoch": outcome.best_epoch}
            row |= {"seconds": outcome.seconds}
        elif "failure" in trial.user_attrs:
            row["reason"] = journal.failure_of(trial).reason
        rows.append(row | trial.user_attrs.get("hyperparameters", {}))
    return pd.DataFrame(rows)


def results_of(recorded: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns a row for each contestant on test, given the recorded results."""
    return pd.DataFrame(map(_result, recorded))


def _result(recorded: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": title(recorded["name"]), **recorded["test"]}
    row |= {f"full_{metric}": value for metric, value in recorded["test_full"].items()}
    for metric, (low, high) in recorded["intervals"].items():
        row |= {f"{metric}_low": low, f"{metric}_high": high}
    names = ("lead", "lead_low", "lead_high", "p_value")
    row |= dict(zip(names, recorded["difference"] or [None] * 4, strict=True))
    return row | {"note": recorded["note"], "setting": recorded["setting"]}
