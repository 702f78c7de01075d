"""The winner's fit, by a worker; what is read on test is in `test_search.py`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.search.coordinator import MAX_DEATHS
from ncf.search.plan import Prepared
from ncf.search.winner import Contestant, fit_gmf
from ncf.trials.messages import Failure, Outcome, Refit
from tests.search.test_contest import planted_workers, prepared

__all__ = ["prepared"]  # the fixture

WINNER = Contestant("GMF", 7, Hyperparameters(), 12, {}, "")
OUTCOME = Outcome(7, False, 12, 12, {}, {}, 1.0, 0.0)
DEATH = Failure(7, "worker died: signal SIGKILL", died=True)


def fit(prepared: Prepared, *answers: Outcome | Failure) -> list[Refit]:
    """Fits the winner by workers that answer so; returns what they were given."""
    waiting = [*answers]
    workers, as_local = planted_workers(lambda _: waiting.pop(0))
    fit_gmf(WINNER, prepared, as_local, Path("weights"))
    return cast(list[Refit], workers.tasks)


def test_it_is_the_winners_setting_for_its_epochs(prepared: Prepared) -> None:
    (task,) = fit(prepared, OUTCOME)
    assert (task.hyperparameters, task.epochs) == (WINNER.setting, 12)
    assert task.weights == Path("weights")


def test_a_worker_that_dies_costs_nothing_and_an_error_is_the_searchs(prepared: Prepared) -> None:
    assert len(fit(prepared, DEATH, OUTCOME)) == 2
    with pytest.raises(RuntimeError, match="trial 7, was not fitted: worker died"):
        fit(prepared, *[DEATH] * MAX_DEATHS)
    with pytest.raises(RuntimeError, match="not fitted: FloatingPointError"):
        fit(prepared, Failure(7, "FloatingPointError: diverged"))
