"""The verdict: the winner and the baselines are fitted on train and validation, and read on test.

All of them are judged on the same users and candidates, once. Each user's rank is kept, so that
every number that is shown can be computed again from the study's `test_ranks.npz`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ncf.data.files import whole
from ncf.protocol.intervals import bootstrap_interval, paired_difference
from ncf.protocol.metrics import per_user, summarize
from ncf.protocol.ranks import Scorer, full_ranks, sampled_ranks
from ncf.protocol.seeds import Purpose, spawn
from ncf.search.plan import Plan
from ncf.search.results import Conclusion, Confirmed, Contestant, Result
from ncf.serving.scorers import load_scorer
from ncf.trials.messages import Failure
from ncf.trials.workers import Workers, run_tasks

# Files in the folder of a conclusion.
RANKS = "test_ranks.npz"
WEIGHTS = "winner.safetensors"


def conclude(
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    folder: Path,
    contestants: Sequence[Contestant],
    confirmed: Sequence[Confirmed],
    published: str,
) -> Conclusion:
    """Fits the contestants and reads test, or returns the recorded results where that is done.

    Args:
        study: The study, where the results are recorded.
        plan: The plan of the study, which makes the tasks.
        workers: The workers that train.
        folder: The study's folder.
        contestants: The winner, then the baselines.
        confirmed: The confirmed trials, best first.
        published: The digest of the conclusion that MLflow has, whose files are not needed here
            any longer; empty where it has none.
    """
    key = [[c.name, c.number, c.recorded, c.epochs] for c in contestants]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
    files = folder / f"conclusion-{digest}"
    recorded: dict[str, Any] = study.user_attrs.get("conclusion", {})
    is_known = recorded.get("digest") == digest
    if not (is_known and (files.exists() or digest == published)):
        results = _read_test(contestants, plan, workers, files)
        at = recorded["at"] if is_known else time.time()  # so that what is logged again is the same
        recorded = {"digest": digest, "at": at, "results": [asdict(one) for one in results]}
        study.set_user_attr("conclusion", recorded)
    value = plan.settings.objective.value(contestants[0].validation)
    return Conclusion(
        digest,
        tuple(contestants),
        tuple(Result(**result) for result in recorded["results"]),
        recorded["at"],
        confirmed[0].mean if confirmed else value,
        len(confirmed) > 0,
        files,
    )


def fit(
    contestants: Sequence[Contestant], plan: Plan, workers: Workers, folder: Path
) -> list[Path]:
    """Trains each contestant on train and validation.

    Returns:
        The file of each contestant's weights, in `folder`.

    Raises:
        RuntimeError: A contestant could not be trained.
    """
    files = [folder / f"refit-{index}.safetensors" for index in range(len(contestants))]
    tasks = iter(
        [
            plan.refit(
                index,
                contestant.setting,
                spawn(plan.settings.seed, Purpose.REFIT, contestant.number if index == 0 else 0),
                contestant.epochs,
                files[index],
            )
            for index, contestant in enumerate(contestants)
        ]
    )
    for event in run_tasks(workers, lambda: next(tasks, None), what="refit"):
        if isinstance(event, Failure):
            contestant = contestants[event.number]
            raise RuntimeError(
                f"{contestant.name} ({contestant.note}) could not be fitted on train and "
                f"validation: {event.reason}"
            )
    return files


def _read_test(
    contestants: Sequence[Contestant], plan: Plan, workers: Workers, files: Path
) -> list[Result]:
    """Fits the contestants and reads test; the winner's weights and the ranks go to `files`."""
    weights = fit(contestants, plan, workers, files.parent)
    ranks: dict[str, NDArray[np.int32]] = {"users": plan.split.test.users}
    for contestant, file in zip(contestants, weights, strict=True):
        scorer = load_scorer(load_file(file))  # the scorer that a registered model answers with
        sampled, full = _ranks(scorer, plan)
        ranks |= {f"{contestant.name}_sampled": sampled, f"{contestant.name}_full": full}
    with whole(files) as draft:
        draft.mkdir()
        np.savez_compressed(draft / RANKS, allow_pickle=False, **ranks)
        weights[0].rename(draft / WEIGHTS)
    for file in weights[1:]:
        file.unlink()
    return compare(contestants, ranks, plan)


def compare(
    contestants: Sequence[Contestant], ranks: Mapping[str, NDArray[np.int32]], plan: Plan
) -> list[Result]:
    """Returns the results of ranks, with intervals and the winner's difference to each.

    Args:
        contestants: The winner, then the baselines.
        ranks: The rank of each user's test item, (V,), by NAME_sampled and NAME_full.
        plan: The plan of the study, which has the objective and the seed.
    """
    objective = plan.settings.objective
    seed = spawn(plan.settings.seed, Purpose.BOOTSTRAP)
    results: list[Result] = []
    winner_values: NDArray[np.float64] | None = None
    for contestant in contestants:
        sampled = per_user(ranks[f"{contestant.name}_sampled"], objective.k)
        full = per_user(ranks[f"{contestant.name}_full"], objective.k)
        values = sampled[objective.name]
        difference = None
        if winner_values is None:
            winner_values = values
        else:
            d = paired_difference(winner_values, values, seed)
            difference = [d.mean, d.low, d.high, d.p_value]
        result = Result(
            contestant.name,
            contestant.recorded,
            contestant.note,
            contestant.validation,
            summarize(ranks[f"{contestant.name}_sampled"], objective.k),
            summarize(ranks[f"{contestant.name}_full"], objective.k),
            _intervals(sampled, seed) | _intervals(full, seed, "full_"),
            difference,
        )
        results.append(result)
    return results


def _intervals(
    values: Mapping[str, NDArray[np.float64]], seed: np.random.SeedSequence, prefix: str = ""
) -> dict[str, list[float]]:
    """Returns the 95% interval over users of each metric but MRR, by its prefixed name."""
    found = {}
    for name, of_users in values.items():
        if not name.startswith("mrr_"):
            interval = bootstrap_interval(of_users, seed)
            found[f"{prefix}{name}"] = [interval.low, interval.high]
    return found


def _ranks(scorer: Scorer, plan: Plan) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    split = plan.split
    sampled = sampled_ranks(scorer, split.test.users, plan.test_candidates)
    return sampled, full_ranks(scorer, split.test, split.train_and_validation)
