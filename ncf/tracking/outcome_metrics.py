"""The names that MLflow shows for what came of a trial or a contestant.

MLflow colours a comparison by the metric whose name is first in the alphabet. So the objective has
a name before all others, which is the same on runs of trials, of contestants and of studies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ncf.protocol.metrics import Objective
from ncf.trials.messages import Outcome

CONFIRMED = "confirmed/mean"  # the mean of the objective over fresh seeds
RANK = "rank"  # 1 for a study's winner, then by the objective, over fresh seeds where it has that


def best_name(objective: Objective) -> str:
    """Returns the name of the objective on validation, by which runs are compared.

    It is the value of a trial's best epoch; of the contestants and the study's run, the mean over
    fresh seeds, where these were tried.
    """
    return f"best/{objective.name}"


def confirmed_metrics(values: Sequence[float]) -> dict[str, float]:
    """Returns the mean and the standard deviation over fresh seeds, and their number."""
    if not values:
        return {}
    found = {CONFIRMED: float(np.mean(values)), "confirmed/seeds": float(len(values))}
    if len(values) > 1:
        found["confirmed/sd"] = float(np.std(values, ddof=1))
    return found


def validation_of(metrics: Mapping[str, float], objective: Objective) -> float | None:
    """Returns the objective on validation of a run, of this or an older version; None for none."""
    older = (f"validation_confirmed/{objective.name}", f"validation_best/{objective.name}")
    names = (best_name(objective), *older)
    return next((metrics[name] for name in names if name in metrics), None)


def best_metrics(outcome: Outcome) -> dict[str, float]:
    """Returns the metrics of a trial's best epoch under the names that MLflow shows."""
    return {
        **prefixed("validation_best", outcome.metrics),
        **prefixed("validation_full", outcome.metrics_full),
    }


def spent_seconds(outcome: Outcome) -> dict[str, float]:
    """Returns the seconds of a trial, those of the processor where its record has them."""
    spent = {"trial/seconds": outcome.seconds}
    if outcome.processor_seconds > 0:
        spent["trial/processor_seconds"] = outcome.processor_seconds
    return spent


def prefixed(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    """Returns the values under names in a group of MLflow's.

    >>> prefixed("test", {"ndcg_10": 0.5})
    {'test/ndcg_10': 0.5}
    """
    return {f"{prefix}/{key}": value for key, value in values.items()}
