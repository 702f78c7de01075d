"""The verdict: all contestants are fitted on train and validation, and read on test.

They are judged on the same users and candidates, once. Each user's rank is kept, so that
every number that is shown can be computed again from the study's `test_ranks.npz`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ncf.data.files import wait_for_room, whole
from ncf.models.table import title
from ncf.protocol.lists import best_items, coverage
from ncf.protocol.ranks import full_ranks, sampled_ranks, some_users
from ncf.protocol.seeds import Purpose, spawn
from ncf.serving.scorers import load_scorer
from ncf.study import mixing
from ncf.study.breakdown import Breakdown, break_down, breakdown_of
from ncf.study.comparison import compare
from ncf.study.plan import Plan
from ncf.study.results import Conclusion, Contestant, Reading, Result, read_before
from ncf.trials.messages import Failure, Refit
from ncf.trials.workers import Workers, run_tasks

_logger = logging.getLogger(__name__)

# Files in the folder of a conclusion.
RANKS = "test_ranks.npz"
WEIGHTS = "winner.safetensors"


def conclude(
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    folder: Path,
    contestants: Sequence[Contestant],
    published: str,
) -> Conclusion:
    """Fits the contestants and reads test, or returns the recorded results where that is done.

    Test is meant to be read once. Each reading is noted in the study's record before it is made,
    and the log warns of each after the first.

    Args:
        study: The study, where the results are recorded.
        plan: The plan of the study, which makes the tasks.
        workers: The workers that train.
        folder: The study's folder.
        contestants: The winner, then the others.
        published: The digest of the conclusion that MLflow has, whose files are not needed here
            any longer; empty where it has none.
    """
    digest = _digest(contestants)
    files = folder / f"conclusion-{digest}"
    recorded: dict[str, Any] = study.user_attrs.get("conclusion", {})
    is_known = recorded.get("digest") == digest
    if not (is_known and (files.exists() or digest == published)):
        weights = fit(contestants, plan, workers, folder)
        _note_reading(study, contestants, digest)
        results, parts = _read_test(contestants, plan, weights, files)
        at = recorded["at"] if is_known else time.time()  # so that what is logged again is the same
        recorded = {"digest": digest, "at": at, "results": [asdict(one) for one in results]}
        recorded["breakdown"] = asdict(parts)
        study.set_user_attr("conclusion", recorded)
    # The record has them in the order of their names in options, people see the best first.
    winner, *others = zip(contestants, recorded["results"], strict=True)
    objective = plan.settings.objective
    shown = [winner, *sorted(others, key=lambda pair: -pair[0].value(objective))]
    return Conclusion(
        digest,
        tuple(contestant for contestant, _ in shown),
        tuple(Result(**result) for _, result in shown),
        recorded["at"],
        files,
        tuple(readings_of(study)),
        breakdown_of(recorded.get("breakdown")),
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

    def task_of(index: int) -> Refit:
        one = contestants[index]
        seed = spawn(plan.settings.seed, Purpose.REFIT, one.number * one.is_trial)
        beside = next(
            file for file, other in zip(files, contestants, strict=True) if other.is_trial
        )
        is_mixture = one.name == mixing.NAME
        return plan.refit(
            index, one.setting, seed, one.epochs, files[index], beside if is_mixture else None
        )

    # A mixture is fitted when the best trial is, of which it is one.
    for is_mixture in (False, True):
        chosen = [n for n, one in enumerate(contestants) if (one.name == mixing.NAME) == is_mixture]
        tasks = map(task_of, chosen)
        for event in run_tasks(workers, partial(next, tasks, None), what="refit"):
            if isinstance(event, Failure):
                contestant = contestants[event.number]
                raise RuntimeError(
                    f"{title(contestant.name)} ({contestant.note}) could not be fitted on train "
                    f"and validation: {event.reason}"
                )
    return files


def readings_of(study: optuna.Study) -> list[Reading]:
    """Returns each time that a study has read test, the first first."""
    noted = study.user_attrs.get("test_readings")
    if noted is not None:
        return [Reading(**one) for one in noted]
    conclusion = study.user_attrs.get("conclusion")
    if conclusion is None:
        return []
    what = ", ".join(result["name"] for result in conclusion["results"])
    why = "before readings were noted"
    return [Reading(conclusion["at"], what, why, conclusion["digest"])]


def _digest(contestants: Sequence[Contestant]) -> str:
    """Returns what tells these contestants, in this order, from others."""
    key = [[c.name, c.number, c.recorded, c.epochs] for c in contestants]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]


def _note_reading(study: optuna.Study, contestants: Sequence[Contestant], digest: str) -> None:
    """Notes that test is read now, with what and why; the log says where it was read before.

    The same contestants come out the same, so that to judge them again, where their files were
    lost, is not another reading.
    """
    readings = readings_of(study)
    of_all = _digest(sorted(contestants, key=lambda one: one.name))  # whichever is the winner
    if {digest, of_all} & {one.digest for one in readings}:
        return
    what = ", ".join(f"{title(one.name)} trial {one.number}" for one in contestants)
    why = "the study was continued after it had read test" if readings else "the study's end"
    readings.append(Reading(time.time(), what, why, of_all))
    if len(readings) > 1:
        _logger.warning("%s", read_before(readings))
    study.set_user_attr("test_readings", [asdict(one) for one in readings])


def _read_test(
    contestants: Sequence[Contestant], plan: Plan, weights: Sequence[Path], files: Path
) -> tuple[list[Result], Breakdown]:
    """Reads test with the fitted contestants, and returns their results, also in parts.

    Args:
        contestants: The winner, then the others.
        plan: The plan of the study.
        weights: The file of each contestant's weights; they are moved or removed.
        files: The folder that the winner's weights and the ranks go to.
    """
    ranks: dict[str, NDArray[np.int32]] = {"users": plan.split.test.users}
    listed = np.unique(some_users(plan.split.test).users)
    # without their order, which takes as much memory as the items themselves
    known = replace(plan.split.train_and_validation, by_time=None)
    seen = replace(plan.split.whole, by_time=None)
    covered = {}
    for contestant, file in zip(contestants, weights, strict=True):
        scorer = load_scorer(load_file(file))  # the scorer that a registered model answers with
        sampled = sampled_ranks(scorer, plan.split.test.users, plan.test_candidates)
        full = full_ranks(scorer, plan.split.test, seen, n_threads=os.cpu_count() or 1)
        ranks |= {f"{contestant.name}_sampled": sampled, f"{contestant.name}_full": full}
        lists = best_items(scorer, listed, known, plan.settings.objective.k)
        covered[contestant.name] = coverage(lists, known.n_items)

    def keep() -> None:
        with whole(files) as draft:
            draft.mkdir()
            np.savez_compressed(draft / RANKS, allow_pickle=False, **ranks)
            weights[0].rename(draft / WEIGHTS)

    wait_for_room(keep, files)
    for file in weights[1:]:
        file.unlink()
    names = [contestant.name for contestant in contestants]
    parts = break_down(names, ranks, plan, covered, len(listed))
    return compare(contestants, ranks, plan), parts
