"""The names that MLflow shows for what came of a trial."""

from __future__ import annotations

from ncf.trials.messages import Outcome


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


def prefixed(prefix: str, values: dict[str, float]) -> dict[str, float]:
    """Returns the values under names in a group of MLflow's.

    >>> prefixed("test", {"ndcg_10": 0.5})
    {'test/ndcg_10': 0.5}
    """
    return {f"{prefix}/{key}": value for key, value in values.items()}
