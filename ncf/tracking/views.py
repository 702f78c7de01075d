"""The saved view of a study in the MLflow UI: its trials, best first, with useful charts.

The UI keeps a saved view as a tag of the experiment and lists it under "Views" (MLflow 3.17 and
later); `viewStateShareKey=KEY` in an address opens it. Without a view, the UI shows no columns of
metrics and parameters, and its first charts are of single points.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ncf.protocol.metrics import Objective
from ncf.tracking.outcome_metrics import CONFIRMED, RANK, best_name
from ncf.tracking.tag_names import STATE_TAG, WINNER_TAG

TAG = "mlflow.sharedViewState."  # the view's key follows

_HYPERPARAMETERS, _CURVES = "ncf-hyperparameters", "ncf-curves"  # sections of charts


def key_of(study_id: str) -> str:
    """Returns the key of a study's view."""
    return f"study-{study_id[:12]}"


def link(server: str, experiment_id: str, study_id: str) -> str:
    """Returns the address of a study's trials in the UI, best first, with charts."""
    view = f"viewStateShareKey={key_of(study_id)}&compareRunsMode=CHART"
    mode = "workflowType=machine_learning"  # the other mode of the UI is for language models
    return f"{server}/#/experiments/{experiment_id}/runs?{view}&{mode}"


def trials_view(
    study: str,
    filter_string: str,
    searched: Sequence[str],
    objective: Objective,
    at: float,
    is_ranked: bool = False,
) -> str:
    """Returns the value of the tag.

    Args:
        study: The name of the study.
        filter_string: The query that finds its trials and contestants.
        searched: The names of the parameters that differ between trials.
        objective: The metric by which the trials are ordered.
        at: When the view was made, in seconds since 1970.
        is_ranked: Whether the runs have ranks, by which they are then ordered: the winner is first.
    """
    best, k = best_name(objective), objective.k
    shown = (
        f"validation_best/ndcg_{k}",
        f"validation_full/ndcg_{k}",
        f"validation_best/hit_ratio_{k}",
    )
    metrics = [name for name in shown if name != f"validation_best/{objective.name}"]
    widths = {
        # These are visible in a window of 1280 pixels, up to the one of test.
        "attributes.`Run Name`": 190,
        "runDateAndNestInfo": 130,
        f"metrics.`{RANK}`": 75,
        f"tags.`{WINNER_TAG}`": 120,
        f"tags.`{STATE_TAG}`": 90,
        f"metrics.`{best}`": 110,
        f"metrics.`{CONFIRMED}`": 125,
        f"metrics.`test/ndcg_{k}`": 105,
        "metrics.`confirmed/sd`": 115,
        **{f"metrics.`{name}`": 205 for name in metrics},
        "metrics.`trial/best_epoch`": 125,
        **{f"params.`{name}`": 130 for name in searched},
        "metrics.`trial/seconds`": 110,
        "attributes.`Models`": 110,
    }
    fixed = ("attributes.`Run Name`", "runDateAndNestInfo")  # columns that are always there
    charts = [
        _chart("PARALLEL", _HYPERPARAMETERS, selectedParams=[*searched], selectedMetrics=[best]),
        _curve(f"validation/{objective.name}"),
        _curve("train/loss"),
    ]
    state = {
        "searchFilter": filter_string,
        "orderByKey": f"metrics.`{RANK if is_ranked else best}`",
        "orderByAsc": is_ranked,
        "selectedColumns": [name for name in widths if name not in fixed],
        "columnOrder": [*widths],
        "columnWidths": widths,
        "runsHiddenMode": "FIRST_10_RUNS",
        "isAccordionReordered": True,  # or the sections stand in the order of the alphabet
        "compareRunCharts": charts,
        "compareRunSections": [
            _section(_HYPERPARAMETERS, "Hyperparameters and the best epoch", n_columns=1),
            _section(_CURVES, "Learning curves of the ten best", n_columns=2),
        ],
    }
    milliseconds = int(at * 1000)
    view = {"name": f"Trials of study {study}", "createdAt": milliseconds}
    return json.dumps({**view, "updatedAt": milliseconds, "state": json.dumps(state)})


def _chart(kind: str, section: str, **options: Any) -> dict[str, Any]:
    return {
        "uuid": f"ncf-{options.get('metricKey', kind)}",
        "type": kind,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 10,
        "showAllRuns": True,
        **options,
    }


def _curve(metric: str) -> dict[str, Any]:
    return _chart(
        "LINE",
        _CURVES,
        metricKey=metric,
        selectedMetricKeys=[metric],
        xAxisKey="step",
        xAxisScaleType="linear",
        scaleType="linear",
        range={},
        lineSmoothness=0,
        yAxisKey="metric",
        yAxisExpressions=[],
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )


def _section(key: str, name: str, n_columns: int) -> dict[str, Any]:
    size = {"columns": n_columns, "cardHeight": 340}
    state = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": key, "name": name, **size, **state}
