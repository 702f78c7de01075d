"""How much the lists agree that a trial's setting makes with one seed and with another.

Two trainings that are equally good may list different items to the same user.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from safetensors.numpy import load_file

from ncf.protocol.lists import agreement, best_items
from ncf.protocol.ranks import some_users
from ncf.serving.scorers import load_scorer
from ncf.study.plan import Plan

_N_USERS = 1000
_ATTRIBUTE = "list_agreement"


def note_agreement(study: optuna.Study, plan: Plan, number: int, weights: Sequence[Path]) -> None:
    """Records how much the lists of a trial's fresh seeds agree, where two of them are there.

    Args:
        study: The study, where it is recorded.
        plan: The plan of the study.
        number: The trial's number.
        weights: The files of the models of fresh seeds, some of which may not be there.
    """
    files = [file for file in weights if file.exists()]
    if len(files) < 2:
        return
    users = np.unique(some_users(plan.split.validation, _N_USERS).users)
    k = plan.settings.objective.k
    lists = [best_items(load_scorer(load_file(file)), users, plan.split.train, k) for file in files]
    study.set_user_attr(_ATTRIBUTE, {str(number): agreement(lists)})


def agreement_of(study: optuna.Study, number: int) -> float | None:
    """Returns how much the lists of a trial's fresh seeds agree; None where it is not recorded."""
    recorded: dict[str, float] = study.user_attrs.get(_ATTRIBUTE, {})
    return recorded.get(str(number))
