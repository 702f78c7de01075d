"""Values as MLflow's entities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow.entities import Param, RunTag


def rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns the metrics with six digits after the point, as most of them are logged."""
    return {name: round(value, 6) for name, value in metrics.items()}


def params_of(values: Mapping[str, Any]) -> list[Param]:
    """Returns values as MLflow's parameters, whose values are text."""
    return [Param(key, str(value)) for key, value in values.items()]


def tags_of(values: Mapping[str, str]) -> list[RunTag]:
    """Returns values as MLflow's tags."""
    return [RunTag(key, value) for key, value in values.items()]
