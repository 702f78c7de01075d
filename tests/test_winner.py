"""The winner's fit, by a worker; what is read on test is in `test_search.py`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from ncf.experiment import Hyperparameters
from ncf.messages import EpochReport, Failure, Outcome, Refit
from ncf.preparation import Prepared
from ncf.study import MAX_DEATHS
from ncf.winner import Contestant, fit_gmf
from ncf.workers import LocalWorkers
from tests.test_contest import prepared

__all__ = ["prepared"]  # the fixture

WINNER = Contestant("GMF", 7, Hyperparameters(), 12, {}, "")
OUTCOME = Outcome(7, False, 12, 12, {}, {}, 1.0, 0.0)
DEATH = Failure(7, "worker died: signal SIGKILL", died=True)


class PlantedWorker:
    """One worker, which answers each task with the next of its answers."""

    n_idle = 1

    def __init__(self, *answers: EpochReport | Outcome | Failure) -> None:
        self.answers = [*answers]
        self.tasks: list[Refit] = []

    def submit(self, task: Refit) -> None:
        self.tasks.append(task)
        self.n_idle = 0

    def receive(self, timeout: float | None = None) -> list[EpochReport | Outcome | Failure]:
        self.n_idle = 1
        return [self.answers.pop(0)]


def fit(prepared: Prepared, worker: PlantedWorker) -> None:
    fit_gmf(WINNER, prepared, cast(LocalWorkers, worker), Path("weights"))


def test_it_is_the_winners_setting_for_its_epochs(prepared: Prepared) -> None:
    fit(prepared, worker := PlantedWorker(OUTCOME))
    (task,) = worker.tasks
    assert (task.hyperparameters, task.epochs) == (WINNER.setting, 12)
    assert task.weights == Path("weights")


def test_a_worker_that_dies_costs_nothing_and_an_error_is_the_searchs(prepared: Prepared) -> None:
    fit(prepared, worker := PlantedWorker(DEATH, OUTCOME))
    assert len(worker.tasks) == 2
    with pytest.raises(RuntimeError, match="trial 7, was not fitted: worker died"):
        fit(prepared, PlantedWorker(*[DEATH] * MAX_DEATHS))
    with pytest.raises(RuntimeError, match="not fitted: FloatingPointError"):
        fit(prepared, PlantedWorker(Failure(7, "FloatingPointError: diverged")))
