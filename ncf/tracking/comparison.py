"""The comparison of two versions on the same users and candidates, with paired intervals.

A study's winner is fitted on train and validation, so that only test can tell two winners apart.
The test items and candidates are those of the first version's study, from its artifacts. Whoever
chooses by them again and again makes them a second validation set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from ncf.protocol.intervals import Difference, paired_difference
from ncf.protocol.metrics import label, per_user
from ncf.protocol.ranks import full_ranks, sampled_ranks
from ncf.protocol.splitting import HeldOut, History
from ncf.serving import checks
from ncf.serving.recommender import Recommender
from ncf.tracking import places, registry, versions
from ncf.tracking.database import file_of

_SEED = 0  # the seed of the bootstrap


@dataclass(frozen=True)
class _HeldOut:
    """What two models are asked for.

    Attributes:
        users: The user of each held-out item, (V,), ascending.
        candidates: The candidates, (V, C), with the item in column 0.
        k: The length of the lists that are judged.
        later: The interactions that come after the held-out items; None where nothing does.
    """

    users: NDArray[np.int32]
    candidates: NDArray[np.int32]
    k: int
    later: HeldOut | None


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
    splits = [_split_of(version) for version in (first, second)]
    if splits[0] != splits[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} hold out other items ({splits[0]}; {splits[1]}), so that "
            "one may have been fitted on what the other is asked for: only versions of the same "
            "split can be compared"
        )
    asked = _held_out(client, first, second, "test")
    metrics = [_metrics(registry.read(client, f"models:/{name}"), asked) for name in names]
    return _rows(names, metrics, asked.k)


def _split_of(version: ModelVersion) -> str:
    """Returns how the data of a version were split, as `registry.protocol` begins."""
    return re.split(r", \d+ negatives", version.tags.get("protocol", ""))[0]


def compare_trials(
    client: MlflowClient, study_run_id: str, models: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Returns rows as `compare` does, of the models of two trials of a study on validation.

    Args:
        client: A client of the store.
        study_run_id: The id of the study's run.
        models: The ids of the two logged models, by the names that they have in the rows.

    Raises:
        ValueError: A model cannot be read, or the study lacks the candidates.
    """
    missing = f"{study_run_id}: the run of the study was deleted in MLflow"
    asked = _asked(client, versions.run_of(client, study_run_id, missing), "validation")
    metrics = [_metrics(registry.read(client, f"models:/{one}"), asked) for one in models.values()]
    return _rows([*models], metrics, asked.k)


def _rows(
    names: Sequence[str], metrics: Sequence[Mapping[str, NDArray[np.float64]]], k: int
) -> list[dict[str, Any]]:
    """Returns a row for each metric of two models, given the values of each user by metric."""
    first, second = metrics
    rows = []
    for metric in (f"{full}{name}_{k}" for full in ("", "full_") for name in ("hit_ratio", "ndcg")):
        d = paired_difference(first[metric], second[metric], _SEED)
        rows.append(
            {
                "metric": label(metric),
                names[0]: round(float(first[metric].mean()), 4),
                names[1]: round(float(second[metric].mean()), 4),
                "difference": round(d.mean, 4),
                "low": round(d.low, 4),
                "high": round(d.high, 4),
                "p": float(f"{d.p_value:.2g}"),
            }
        )
    return rows


def difference(
    client: MlflowClient, new: ModelVersion, old: ModelVersion, part: str, name: str
) -> tuple[Difference, int]:
    """Returns a metric's paired difference, the new version less the old, and the number of users.

    Args:
        client: A client of the store.
        new: A version.
        old: Another, of whose study the held-out items and candidates are.
        part: Whose items are held out: "validation" or "test".
        name: The metric, such as "ndcg_10", or "full_ndcg_10" over the full catalogue.

    Raises:
        ValueError: A model cannot be read, or the study lacks the candidates.
    """
    asked = _held_out(client, old, new, part)
    now, before = (
        _metrics(registry.read(client, f"models:/{one.name}/{one.version}"), asked)
        for one in (new, old)
    )
    return paired_difference(now[name], before[name], _SEED), len(now[name])


def _held_out(
    client: MlflowClient, first: ModelVersion, second: ModelVersion, part: str
) -> _HeldOut:
    """Returns what the first version's study asks for on validation or test."""
    run = _study_run(client, first, second)
    try:
        return _asked(client, run, part)
    except ValueError as error:
        raise ValueError(f"{first.name}/{first.version}: {error}") from error


def _asked(client: MlflowClient, run: Run, part: str) -> _HeldOut:
    """Returns what a study asks for on validation or test, given its run."""
    try:
        file = client.download_artifacts(run.info.run_id, "candidates.npz")
    except (MlflowException, OSError) as error:
        reason = places.moved(file_of(client.tracking_uri), run.info.artifact_uri) or error
        raise ValueError(f"its study's candidates.npz cannot be read: {reason}") from error
    names = (f"{part}_users", part, *(("later_users", "later_items") if part != "test" else ()))
    try:
        checks.archive(Path(file), names)
        with np.load(file) as arrays:
            users, candidates, *later = (arrays[name] for name in names)
    except KeyError as error:
        raise ValueError("its study is of an older version of this project") from error
    except Exception as error:  # a dozen kinds, by which byte is lost
        raise ValueError(f"its study's candidates.npz is damaged: {error}") from error
    return _HeldOut(
        users, candidates, int(run.data.params["k"]), HeldOut(*later) if later else None
    )


def _study_run(client: MlflowClient, first: ModelVersion, second: ModelVersion) -> Run:
    """Returns the run of the first version's study, which may have been made anew for the second.

    Raises:
        ValueError: It was deleted.
    """
    missing = (
        f"{first.name}/{first.version}: its run {first.run_id} was deleted in MLflow, and its "
        "study has the candidates that both are compared on; the search command makes it anew"
    )
    try:
        return versions.study_run(client, versions.run_of(client, str(first.run_id), missing))
    except ValueError:
        if any(first.tags.get(tag) != second.tags.get(tag) for tag in ("study", "protocol")):
            raise
        return versions.study_run(client, versions.run_of(client, str(second.run_id), missing))


def _metrics(model: Recommender, asked: _HeldOut) -> dict[str, NDArray[np.float64]]:
    """Returns by metric the values of each user, (U,)."""
    catalogue, users, k = model.catalogue, asked.users, asked.k
    checks.in_range("test_users", users, 0, catalogue.n_users)  # compiled code follows them
    checks.in_range("test", asked.candidates[:, 0], 0, catalogue.n_items)
    checks.in_range("test", asked.candidates, -1, catalogue.n_items)  # -1 where there are too few
    held_out = HeldOut(users, asked.candidates[:, 0])
    seen = History(catalogue.seen_indptr, catalogue.seen_items, len(catalogue.item_ids))
    if asked.later is not None:
        seen = _without(seen, asked.later)
    sampled = per_user(sampled_ranks(model.scorer, users, asked.candidates), k, users)
    full = per_user(full_ranks(model.scorer, held_out, seen), k, users)
    return sampled | {f"full_{name}": values for name, values in full.items()}


def _without(seen: History, later: HeldOut) -> History:
    """Returns what users have seen without what came later, which competes like any other item."""
    n_items = seen.n_items
    pairs = seen.user_of.astype(np.int64) * n_items + seen.items
    is_kept = ~np.isin(pairs, later.users.astype(np.int64) * n_items + later.items)
    n_kept = np.concatenate([[0], np.cumsum(is_kept)])
    return History(n_kept[seen.indptr], seen.items[is_kept], n_items)
