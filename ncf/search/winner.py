"""The winner and the baselines: fitted on train and validation, read on test once, compared.

All of them are judged on the same users and candidates. Per-user ranks are kept, so that every
figure that is shown can be made again from the study's `test_ranks.npz`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import Setting, fit
from ncf.protocol.intervals import bootstrap_interval, paired_difference
from ncf.protocol.metrics import hit_ratio, ndcg, summarize
from ncf.protocol.ranks import Scorer, full_ranks, sampled_ranks
from ncf.protocol.seeds import Purpose, spawn
from ncf.search.contest import run_tasks
from ncf.search.plan import Prepared
from ncf.serving.catalogue import Catalogue
from ncf.serving.scorers import load_scorer
from ncf.tracking.logged_models import package
from ncf.tracking.tracker import Tracker
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import Failure, Refit

RANKS, WEIGHTS = "test_ranks.npz", "winner.safetensors"


@dataclass(frozen=True)
class Contestant:
    """One setting that goes to test.

    Attributes:
        name: "GMF", or the baseline's.
        number: The trial, of a GMF.
        setting: Its hyperparameters.
        epochs: Epochs to train a GMF for.
        validation: Its validation metrics on the sampled candidates.
        note: How it was found.
    """

    name: str
    number: int
    setting: Setting
    epochs: int
    validation: dict[str, float]
    note: str


@dataclass(frozen=True)
class Result:
    """What a contestant came to on test.

    Attributes:
        name: The contestant's.
        setting: Its hyperparameters.
        note: How it was found.
        validation: Metrics on the sampled validation candidates.
        test: Metrics on the sampled test candidates.
        test_full: Metrics over the full catalogue.
        intervals: 95% intervals over users of the test metrics, by metric: low and high.
        difference: The winner's test nDCG less this one's: mean, low, high, p-value; None for the
            winner itself.
    """

    name: str
    setting: dict[str, object]
    note: str
    validation: dict[str, float]
    test: dict[str, float]
    test_full: dict[str, float]
    intervals: dict[str, list[float]]
    difference: list[float] | None


def fit_gmf(winner: Contestant, prepared: Prepared, workers: LocalWorkers, weights: Path) -> None:
    """Has a worker train the winner's setting on train and validation.

    Args:
        winner: The winner.
        prepared: The search.
        workers: Of the search.
        weights: File to write the weights to.

    Raises:
        RuntimeError: It could not be trained.
    """
    if not isinstance(winner.setting, Hyperparameters):
        raise TypeError(f"a GMF is trained of Hyperparameters, got {winner.setting!r}")
    seed = spawn(prepared.settings.seed, Purpose.REFIT, winner.number)
    device = prepared.settings.device
    tasks = iter([Refit(winner.number, winner.setting, seed, winner.epochs, device, weights)])
    (event,) = run_tasks(workers, lambda: next(tasks, None))
    if isinstance(event, Failure):
        raise RuntimeError(f"the winner, trial {winner.number}, was not fitted: {event.reason}")


def read_test(
    contestants: Sequence[Contestant],
    weights: Path,
    prepared: Prepared,
    catalogue: Catalogue,
    folder: Path,
) -> list[Result]:
    """Evaluates the winner (the first) and the baselines on test.

    Args:
        contestants: The winner and the baselines.
        weights: The winner's, fitted.
        prepared: The search.
        catalogue: The catalogue of its models.
        folder: Where to leave the winner's weights, and each one's rank of every user's test item.
    """
    winner = load_scorer(load_file(weights))  # as it will answer
    ranks: dict[str, NDArray[np.int32]] = {"users": prepared.split.test.users}
    for contestant in contestants:
        scorer = winner if contestant is contestants[0] else _fit_baseline(contestant, prepared)
        ranks[f"{contestant.name}_sampled"], ranks[f"{contestant.name}_full"] = _ranks(
            scorer, prepared
        )
    unfinished = folder.with_suffix(".part")
    for left_by_a_kill in (folder, unfinished):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    unfinished.mkdir()
    np.savez_compressed(unfinished / RANKS, allow_pickle=False, **ranks)
    weights.rename(unfinished / WEIGHTS)
    unfinished.rename(folder)  # whole or absent
    k, seed = prepared.settings.k, spawn(prepared.settings.seed, Purpose.BOOTSTRAP)
    best = ndcg(ranks[f"{contestants[0].name}_sampled"], k)
    results = []
    for contestant in contestants:
        sampled, full = ranks[f"{contestant.name}_sampled"], ranks[f"{contestant.name}_full"]
        per_user = {
            f"hit_ratio_{k}": hit_ratio(sampled, k),
            f"ndcg_{k}": ndcg(sampled, k),
            f"full_hit_ratio_{k}": hit_ratio(full, k),
            f"full_ndcg_{k}": ndcg(full, k),
        }
        intervals = {name: bootstrap_interval(values, seed) for name, values in per_user.items()}
        difference = None
        if contestant is not contestants[0]:
            d = paired_difference(best, per_user[f"ndcg_{k}"], seed)
            difference = [d.mean, d.low, d.high, d.p_value]
        results.append(
            Result(
                contestant.name,
                asdict(contestant.setting),
                contestant.note,
                contestant.validation,
                summarize(sampled, k),
                summarize(full, k),
                {name: [interval.low, interval.high] for name, interval in intervals.items()},
                difference,
            )
        )
    return results


def log_winner(folder: Path, winner: Contestant, tracker: Tracker, catalogue: Catalogue) -> str:
    """Keeps the winner's model, whose weights are in `folder`, with the study's run.

    Returns:
        The model's id.
    """
    packaged = folder / "winner"
    if folder.exists():  # else MLflow has it
        package(packaged, folder / WEIGHTS, winner.setting, catalogue)
    key = f"winner-{winner.number}-{winner.epochs}"
    params = asdict(winner.setting)
    return tracker.log_model(tracker.parent, key, "winner", packaged, params, winner.epochs)


def metrics_of(result: Result) -> dict[str, float]:
    """Returns a result's metrics as they are logged."""
    groups: dict[str, Mapping[str, float]] = {
        "validation_best": result.validation,
        "test": result.test,
        "test_full": result.test_full,
    }
    metrics = {f"{group}/{key}": value for group, of in groups.items() for key, value in of.items()}
    for name, (low, high) in result.intervals.items():
        group, key = ("test_full", name[5:]) if name.startswith("full_") else ("test", name)
        metrics |= {f"{group}/{key}_low": low, f"{group}/{key}_high": high}
    return metrics


def _ranks(scorer: Scorer, prepared: Prepared) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    split = prepared.split
    sampled = sampled_ranks(scorer, split.test.users, prepared.test_candidates)
    return sampled, full_ranks(scorer, split.test, split.train_and_validation)


def _fit_baseline(contestant: Contestant, prepared: Prepared) -> Scorer:
    if isinstance(contestant.setting, Hyperparameters):
        raise TypeError(f"a baseline has settings of its own, got {contestant.setting!r}")
    seed = spawn(prepared.settings.seed, Purpose.REFIT)
    whole = prepared.split.train_and_validation
    (epoch,) = fit(whole, contestant.setting, epochs=1, seed=seed)
    return epoch.scorer
