"""What several tests of the search share: workers whose answers are planted, and a plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.splitting import Split
from ncf.study.experiment import Experiment
from ncf.study.plan import Plan, Settings
from ncf.study.source import Source
from ncf.study.storage import open_storage
from ncf.trials.messages import EpochReport, Failure, Outcome, Refit, Setback, Task

Answer = Callable[[Any], Outcome | Failure]  # to a Task, or to a Refit


class AnsweringWorkers:
    """Two workers that answer at once, the last task first: the order must not matter."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.tasks: list[Task | Refit] = []
        self.waiting: list[Task | Refit] = []

    @property
    def n_idle(self) -> int:
        return 2 - len(self.waiting)

    def submit(self, task: Task | Refit) -> None:
        assert self.n_idle > 0
        self.tasks.append(task)
        self.waiting.append(task)

    def receive(
        self, timeout: float | None = None
    ) -> list[EpochReport | Outcome | Failure | Setback]:
        return [self.answer(self.waiting.pop())]


def outcome(number: int, value: float, best_epoch: int = 7, seconds: float = 1.0) -> Outcome:
    return Outcome(number, False, 9, best_epoch, {"ndcg_10": value}, {}, seconds, 0.0)


def plan_of(split: Split, n_trials: int = 4) -> Plan:
    """Returns a plan of a split, without any data or candidates."""
    experiment = Experiment("x", "x", Hyperparameters(), lambda _: Hyperparameters())
    nothing = np.zeros((0, 2), np.int32)
    settings = Settings(n_trials, seed=0, device="cpu")
    return Plan(
        "x", experiment, settings, Source("x"), cast(Any, None), split, "", nothing, nothing
    )


def study_with(values: list[float], folder: Path | None = None) -> optuna.Study:
    """Returns a study of trials with these values; trial t has embedding_dim 10 + t."""
    storage = None if folder is None else open_storage(str(folder / "journal"))
    study = optuna.create_study(storage=storage, direction="maximize", study_name="x")
    for number, value in enumerate(values):
        attributes = {
            "hyperparameters": {"embedding_dim": 10 + number},
            "outcome": {
                "number": number, "pruned": False, "epochs": 9, "best_epoch": 7,
                "metrics": {"ndcg_10": value}, "metrics_full": {}, "seconds": 10.0, "time": 0.0,
            },
        }  # fmt: skip
        study.add_trial(create_trial(value=value, user_attrs=attributes))
    study.add_trial(create_trial(state=TrialState.FAIL))
    return study
