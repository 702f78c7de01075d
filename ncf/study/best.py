"""Which contestant is the best: all are compared by validation, where seeds matter by fresh ones.

The best of many settings may only have had a lucky seed. The best trials of a study are therefore
trained again (`confirmation.py`), and so are the best settings of another model that is seeded,
where it could win: where it is better than all the others before it is trained again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import optuna

from ncf.models.table import model_of, title
from ncf.protocol.metrics import Objective
from ncf.study import baselines, mixing
from ncf.study.confirmation import choose, confirm
from ncf.study.plan import Plan
from ncf.study.results import Contestant, Result
from ncf.trials.workers import Workers

Which: TypeAlias = Literal["gmf", "any"]


def confirm_others(
    contestants: Sequence[Contestant],
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    n_trials: int,
    n_seeds: int,
) -> list[Contestant]:
    """Returns the contestants; one that could win only by a lucky seed is trained again.

    The mixture is not: it is judged by as many seeds as the best trial from the beginning.

    Args:
        contestants: The best trial of the study, then the others.
        study: The study, beside which the others have their records.
        plan: The plan of the study, which makes the tasks.
        workers: The workers that train.
        n_trials: How many of the best settings of such a model are trained again; 0 for none.
        n_seeds: The number of fresh seeds for each of them.
    """
    objective = plan.settings.objective
    sure = max(one.value(objective) for one in contestants if one.is_trial or one.is_confirmed)
    found = []
    for one in contestants:
        is_sure = one.is_trial or one.is_confirmed or one.name == mixing.NAME
        if not is_sure and one.value(objective) > sure:
            record = baselines.record_of(one.name, study)
            if again := confirm(record, plan, workers, n_trials, n_seeds):
                best = choose(record, again)
                note = f"{one.note}, {best.note}"
                one = replace(best, name=one.name, epochs=0, note=note, is_trial=False)
        found.append(one)
    return found


def best_first(
    contestants: Sequence[Contestant], which: Which, objective: Objective
) -> list[Contestant]:
    """Returns the contestants with the winner first, and the others in their order.

    Args:
        contestants: The best trial of the study, then the others.
        which: "any" for the best of all, of equals the first; "gmf" for the best trial of the
            study, whatever model its experiment searches.
        objective: The metric by which they are compared on validation.
    """
    winner = contestants[0]
    if which == "any":
        winner = max(contestants, key=lambda one: one.value(objective))
    return [winner, *(one for one in contestants if one is not winner)]


def reason(contestants: Sequence[Contestant], objective: Objective) -> str:
    """Returns which contestant won and why, as a sentence.

    Args:
        contestants: The winner, then the others.
        objective: The metric by which they are compared on validation.
    """
    winner, *others = contestants
    by = f"by validation {objective.label}:"
    choice, rival = f"the best of the study's trials {by}", ""
    if others:
        second = max(others, key=lambda one: one.value(objective))
        is_best = winner.value(objective) >= second.value(objective)
        choice = f"the best of all {by}"
        if not is_best:
            choice = f"the best of the study's trials, as --register-best gmf asks, {by}"
        place = "the next best" if is_best else "the best of all"
        rival = f"; {place} is {title_of(second)}: {_judged(second, objective)}"
    return f"{title_of(winner)} is the winner, {choice} {_judged(winner, objective)}{rival}."


def _judged(one: Contestant, objective: Objective) -> str:
    """Returns a contestant's validation, and how sure it is of its seed."""
    return f"{one.value(objective):.4f} ({_how(one)})"


def _how(one: Contestant) -> str:
    """Returns how sure a contestant's validation is of its seed."""
    if len(one.seed_values) > 1:
        sd = float(np.std(one.seed_values, ddof=1))
        return f"mean of {len(one.seed_values)} fresh seeds, sd {sd:.4f}"
    if one.seed_values:
        return "one fresh seed"
    return "one seed" if model_of(one.setting).is_seeded else "deterministic"


def title_of(one: Result | Contestant) -> str:
    """Returns the title of a contestant's model."""
    return title(one.name)
