"""One search alone writes to a study in a database, whichever machines they run on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from ncf.study import holder, lease
from ncf.study.holder import holder_of
from ncf.study.lease import Lease, SupersededError, held
from ncf.study.presence import Search
from ncf.study.storage import open_storage

HERE = Search.of_this_process(n_trials=5, jobs=2)
THERE = replace(HERE, pid=4711, host="another-machine", began=1.8e9)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def study_in(url: str) -> optuna.Study:
    return optuna.load_study(study_name="shop", storage=open_storage(url))


def test_a_second_search_is_refused_with_who_and_since_when(url: str) -> None:
    told = (
        r"'shop' is being searched by process 4711 on another-machine, since 2027-01-15 08:00:00 "
        r"UTC \(last sign of life \d+ s ago\): wait .* or begin another with --study NAME"
    )
    with held(open_storage(url), "shop", THERE):
        with pytest.raises(RuntimeError, match=told), held(open_storage(url), "shop", HERE):
            pass
        with held(open_storage(url), "another", HERE):
            pass
        found = holder_of(study_in(url))
        assert found is not None
        assert found.search == THERE
    assert holder_of(study_in(url)) is None
    with held(open_storage(url), "shop", HERE):  # it was given back
        pass


def test_who_is_taken_over_from_cannot_write_any_more(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 600.0)  # no sign of life
    storage = open_storage(url)
    with ExitStack() as both:
        stopped = both.enter_context(held(storage, "shop", THERE))
        study = optuna.load_study(study_name="shop", storage=storage)
        study.set_user_attr("before", 1)
        trial = study.ask()
        stopped.ask()
        monkeypatch.setattr(holder, "OLD_SECONDS", -2.0)  # the clock of SQLite has whole seconds
        with held(open_storage(url), "shop", HERE) as successor:
            assert "'shop' is taken over from process 4711 on another-machine" in caplog.text
            monkeypatch.setattr(holder, "OLD_SECONDS", 60.0)
            writes: list[Callable[[], object]] = [
                lambda: study.set_user_attr("after", 1),
                lambda: trial.report(0.5, 1),
                lambda: study.tell(trial, 0.5),
                lambda: study.enqueue_trial({}),
                stopped.ask,
                stopped.check,
            ]
            for write in writes:
                with pytest.raises(SupersededError, match=f"process {HERE.pid} on {HERE.host}"):
                    write()
            successor.ask()
    now = study_in(url)
    assert now.user_attrs == {"before": 1}
    (left,) = now.get_trials()
    assert left.state == optuna.trial.TrialState.RUNNING
    assert left.intermediate_values == {}


def test_an_error_of_who_is_taken_over_from_is_explained_by_that(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 600.0)
    monkeypatch.setattr(holder, "OLD_SECONDS", -2.0)
    told = f"process {HERE.pid} on {HERE.host} has taken it over; so it stops"
    with ExitStack() as stopped:
        stopped.enter_context(pytest.raises(SupersededError, match=told))
        stopped.enter_context(held(open_storage(url), "shop", THERE))
        with held(open_storage(url), "shop", HERE):
            pass  # it has ended since
        raise ValueError("Trial#3 has already finished")
    with pytest.raises(ValueError, match="another kind"), held(open_storage(url), "shop", HERE):
        raise ValueError("an error of another kind")


def test_a_lease_that_was_removed_is_told_as_that(url: str) -> None:
    told = "'shop': the lease of this search was removed from the database; so it stops here"
    with held(open_storage(url), "shop", HERE) as mine:
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as connection:
            connection.execute(holder.TABLE.delete())
        with pytest.raises(SupersededError, match=told):
            mine.ask()


def test_a_process_of_this_machine_that_is_gone_is_not_waited_for(url: str) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    open_and_leave = held(open_storage(url), "shop", replace(HERE, pid=gone.pid))
    open_and_leave.__enter__()  # as of one that is killed
    with held(open_storage(url), "shop", HERE) as successor:
        successor.ask()


def test_signs_of_life_keep_the_lease(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    with held(open_storage(url), "shop", THERE):
        study = study_in(url)
        begun = holder_of(study)
        assert begun is not None
        while (now := holder_of(study)) is not None and now.beat <= begun.beat:
            time.sleep(0.05)
        assert now is not None
        assert now.token == begun.token


def test_of_several_that_begin_at_once_one_has_the_study(url: str) -> None:
    race(url, n_rounds=2)


def race(url: str, n_rounds: int) -> None:
    """Has four searches begin at once, again and again, and asserts that one alone does."""
    for number in range(n_rounds):
        study = optuna.create_study(storage=open_storage(url), study_name=f"shop-{number}")
        storages = [open_storage(url) for _ in range(4)]
        start = threading.Barrier(len(storages))
        winners: list[int] = []

        def begin(
            one: int,
            study_id: int = study._study_id,
            storages: list[optuna.storages.BaseStorage] = storages,
            start: threading.Barrier = start,
            winners: list[int] = winners,
        ) -> None:
            search = replace(THERE, pid=one)
            mine = Lease(storages[one].engine, study_id, "shop", search)  # type: ignore[attr-defined]
            start.wait()
            with suppress(RuntimeError):
                mine.take()
                winners.append(one)

        threads = [threading.Thread(target=begin, args=(one,)) for one in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) == 1
        found = holder_of(study)
        assert found is not None
        assert found.search.pid == winners[0]
