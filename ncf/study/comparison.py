"""The comparison on test: each contestant's metrics, and the winner's difference to each baseline.

Both are computed from ranks alone, with 95% intervals over users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray

from ncf.protocol.intervals import bootstrap_interval, paired_difference
from ncf.protocol.metrics import per_user, summarize
from ncf.protocol.seeds import Purpose, spawn
from ncf.study.plan import Plan
from ncf.study.results import Contestant, Result


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
    users = plan.split.test.users
    results: list[Result] = []
    winner_values: dict[str, NDArray[np.float64]] | None = None
    for contestant in contestants:
        sampled_ranks = ranks[f"{contestant.name}_sampled"]
        full_ranks = ranks[f"{contestant.name}_full"]
        values = _values(sampled_ranks, full_ranks, objective.k, users)
        difference = difference_full = None
        if winner_values is None:
            winner_values = values
        else:
            difference, difference_full = (
                [*astuple(paired_difference(winner_values[name], values[name], seed))]
                for name in (objective.sampled.name, f"full_{objective.sampled.name}")
            )
        result = Result(
            contestant.name,
            contestant.recorded,
            contestant.note,
            contestant.validation,
            summarize(sampled_ranks, objective.k, users),
            summarize(full_ranks, objective.k, users),
            _intervals(values, seed),
            difference,
            difference_full,
        )
        results.append(result)
    return results


def _values(
    sampled_ranks: NDArray[np.int32],
    full_ranks: NDArray[np.int32],
    k: int,
    users: NDArray[np.int32],
) -> dict[str, NDArray[np.float64]]:
    """Returns each metric of each user, (U,); those over the full catalogue begin with "full_"."""
    full = {f"full_{name}": values for name, values in per_user(full_ranks, k, users).items()}
    return per_user(sampled_ranks, k, users) | full


def _intervals(
    values: Mapping[str, NDArray[np.float64]], seed: np.random.SeedSequence
) -> dict[str, list[float]]:
    """Returns the 95% interval over users of each metric but MRR, by its name."""
    found = {}
    for name, of_users in values.items():
        if not name.removeprefix("full_").startswith("mrr_"):
            interval = bootstrap_interval(of_users, seed)
            found[name] = [interval.low, interval.high]
    return found
