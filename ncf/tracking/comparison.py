"""The comparison of two versions on the same users and candidates, with paired intervals.

A study's winner is fitted on train and validation, so that only test can tell two winners apart.
The test items and candidates are those of the first version's study, from its artifacts. Whoever
chooses by them again and again makes them a second validation set.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from ncf.protocol.intervals import paired_difference
from ncf.protocol.metrics import label, per_user
from ncf.protocol.ranks import full_ranks, sampled_ranks
from ncf.protocol.splitting import HeldOut, History
from ncf.serving.recommender import Recommender
from ncf.tracking import registry, versions

_SEED = 0  # the seed of the bootstrap


def compare(
    client: MlflowClient, first: ModelVersion, second: ModelVersion
) -> list[dict[str, Any]]:
    """Returns a row for each metric: both means, their difference, its 95% interval and p-value.

    Raises:
        ValueError: The versions are of different data, or the study lacks the candidates.
    """
    names = [f"{version.name}/{version.version}" for version in (first, second)]
    prints = [version.tags.get("fingerprint", "") for version in (first, second)]
    if prints[0] != prints[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} are of different data (fingerprints {prints[0][:12]} and "
            f"{prints[1][:12]}): only versions of the same data can be compared"
        )
    missing = f"{names[0]}: its run {first.run_id} was deleted in MLflow"
    needed = f"{missing}, and its study has the candidates that both are compared on"
    run = versions.study_run(client, versions.run_of(client, str(first.run_id), needed))
    try:
        file = client.download_artifacts(run.info.run_id, "candidates.npz")
    except (MlflowException, OSError) as error:
        raise ValueError(
            f"{names[0]}: its study's candidates.npz cannot be read: {error}"
        ) from error
    with np.load(file) as arrays:
        if "test_users" not in arrays:
            raise ValueError(f"{names[0]}: its study is of an older version of this project")
        users, candidates = arrays["test_users"], arrays["test"]
    k = int(run.data.params["k"])
    first_metrics, second_metrics = (
        _metrics(registry.read(client, f"models:/{name}"), users, candidates, k) for name in names
    )
    rows = []
    for metric in first_metrics:
        d = paired_difference(first_metrics[metric], second_metrics[metric], _SEED)
        rows.append(
            {
                "metric": metric,
                names[0]: round(float(first_metrics[metric].mean()), 4),
                names[1]: round(float(second_metrics[metric].mean()), 4),
                "difference": round(d.mean, 4),
                "low": round(d.low, 4),
                "high": round(d.high, 4),
                "p": float(f"{d.p_value:.2g}"),
            }
        )
    return rows


def _metrics(
    model: Recommender, users: NDArray[np.int32], candidates: NDArray[np.int32], k: int
) -> dict[str, NDArray[np.float64]]:
    """Returns by metric the values of each user, (U,).

    Args:
        model: The model.
        users: The user of each test item, (V,), ascending.
        candidates: The candidates of the test items, (V, C), with the item in column 0.
        k: The length of the lists that are judged.
    """
    catalogue = model.catalogue
    held_out = HeldOut(users, candidates[:, 0])
    seen = History(catalogue.seen_indptr, catalogue.seen_items, len(catalogue.item_ids))
    sampled = per_user(sampled_ranks(model.scorer, users, candidates), k, users)
    full = per_user(full_ranks(model.scorer, held_out, seen), k, users)
    shown = (f"hit_ratio_{k}", f"ndcg_{k}")
    return {label(name): sampled[name] for name in shown} | {
        f"full {label(name)}": full[name] for name in shown
    }
