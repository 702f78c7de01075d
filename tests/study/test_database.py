"""A record in a database that goes away: waited for, and nothing is done twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import optuna
import pytest

from ncf.study import database
from ncf.study.database import Database, UnreachableError
from ncf.study.storage import open_storage


class Fault:
    """A database that loses each third answer, or does not do each third thing."""

    def __init__(self, storage: optuna.storages.BaseStorage, is_done: bool) -> None:
        self._is_done = is_done
        self._number = itertools.count()
        dialect: Any = cast(Database, storage).engine.dialect
        self._commit: Callable[[Any], None] = dialect.do_commit
        dialect.do_commit = self.commit

    def commit(self, connection: Any) -> None:
        is_fault = next(self._number) % 3 == 0
        if self._is_done or not is_fault:
            self._commit(connection)
        if is_fault:
            raise UnreachableError("the server closed the connection")


@pytest.mark.parametrize("is_done", [True, False])
def test_nothing_is_done_twice_or_lost(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_done: bool,
) -> None:
    monkeypatch.setattr(database, "FIRST_PAUSE", 0.0)
    url = f"sqlite:///{tmp_path}/studies.db"
    study = optuna.create_study(storage=open_storage(url), study_name="shop")
    Fault(study._storage, is_done)
    for number in range(3):
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, user_attrs={"number": number}
        )
        study.add_trial(template)
        trial = optuna.Trial(study, study.get_trials(deepcopy=False)[-1]._trial_id)
        trial.report(0.5, 1)
        trial.set_user_attr("outcome", number)
        study.tell(trial, float(number))
    trials = optuna.load_study(study_name="shop", storage=open_storage(url)).get_trials()
    assert [trial.user_attrs for trial in trials] == [{"number": n, "outcome": n} for n in range(3)]
    assert [trial.value for trial in trials] == [0.0, 1.0, 2.0]
    assert "waiting for the database of the study's record: the server closed" in caplog.text
    assert "the database of the study's record is back" in caplog.text


def test_a_database_that_stays_away_ends_the_search_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(database, "PATIENCE", 0.0)
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    study = optuna.create_study(storage=storage, study_name="shop")
    fault = Fault(storage, is_done=False)
    monkeypatch.setattr(fault, "_number", itertools.repeat(0))
    with pytest.raises(ConnectionError, match="see that it runs, and the same command goes on"):
        study.set_user_attr("a", 1)


def test_who_alone_writes_reads_all_that_it_wrote(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    study = optuna.create_study(storage=storage, study_name="shop")
    cast(Database, storage).is_alone = True
    for number in range(3):
        assert len(study.get_trials(deepcopy=False)) == number
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        assert study.get_trials(deepcopy=False)[-1].params == trial.params
        trial.report(0.5, 1)
        trial.set_user_attr("outcome", number)
        assert study.get_trials(deepcopy=False)[-1].user_attrs == {"outcome": number}
        study.tell(trial, float(number))
        (*_, last) = study.get_trials(deepcopy=False)
        assert (last.value, last.intermediate_values) == (float(number), {1: 0.5})


def test_an_error_of_another_kind_is_told_at_once(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/a.db"))
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trial.report(0.5, 1)


@pytest.mark.parametrize("url", ["nothing://host/optuna", "sqlite:////proc/no/folder.db"])
def test_an_address_that_cannot_be_opened_is_told_with_what_to_give(url: str) -> None:
    told = f"--storage {url}: cannot be opened (.|\n)*; give a file, or the URL of a database"
    with pytest.raises(ValueError, match=told):
        open_storage(url)
