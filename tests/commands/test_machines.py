"""One study on several machines: its record in PostgreSQL, MLflow a server on PostgreSQL too.

Machines are folders here, each with a name of its own. Each study is compared with one that nothing
happened to, whose record is a file. Slow: `pytest -m slow`.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mlflow
import optuna
import pytest
from mlflow import MlflowClient

from ncf.commands.command_line import parse
from ncf.commands.search import run
from ncf.commands.status import describe
from ncf.study import journal
from ncf.study.database import IDLE_SECONDS, Database
from ncf.study.holder import holder_of
from ncf.study.storage import open_storage
from tests.conftest import COMMON, PROJECT, planted, serving, write_interactions
from tests.postgres import Postgres
from tests.studies import results_of, runs_of, study_of
from tests.study.test_lease import race

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX's"),
]
N_TRIALS = 30
OLD_SECONDS = 4.0  # without a sign of life, after which a study is taken over here
DEADLINE = 600.0  # seconds; for a search that hangs, not for a slow machine
OPTIONS = (
    *COMMON, "--trials", str(N_TRIALS), "--jobs", "2", "--confirm", "1", "--confirm-seeds", "1",
    "--baselines", "none", "--no-register",
)  # fmt: skip
COMMAND = f"""
import platform, sys
platform.node = lambda: sys.argv.pop(1)
host = platform.node()
platform.node = lambda: host
from ncf.study import holder, lease
holder.OLD_SECONDS, lease.BEAT_SECONDS = {OLD_SECONDS}, 0.5
import search
search.main()
"""


@dataclass(frozen=True)
class Place:
    """Where studies are kept that all machines search."""

    folder: Path
    postgres: Postgres
    storage: str
    tracking_uri: str

    def study(self, name: str) -> optuna.Study:
        return optuna.load_study(study_name=name, storage=open_storage(self.storage))

    def begin(self, machine: str, study: str) -> subprocess.Popen[str]:
        """Starts the search command on a machine."""
        folder = self.folder / machine
        folder.mkdir(exist_ok=True)
        (folder / "shop.csv").write_bytes((self.folder / "shop.csv").read_bytes())
        stores = ["--storage", self.storage, "--tracking-uri", self.tracking_uri]
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, machine, *OPTIONS, "--study", study, *stores],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_for_trials(self, study: str, n: int, process: subprocess.Popen[str]) -> None:
        """Waits until so many trials of a study have ended."""
        deadline = time.monotonic() + DEADLINE
        storage = open_storage(self.storage)
        while True:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            with contextlib.suppress(KeyError):  # there is no such study yet
                opened = optuna.load_study(study_name=study, storage=storage)
                if sum(map(journal.is_trained, opened.get_trials(deepcopy=False))) >= n:
                    return
            time.sleep(0.05)

    def wait_for_holder(self, study: str, process: subprocess.Popen[str]) -> None:
        """Waits until a search has the lease of a study."""
        while (found := holder_of(self.study(study))) is None or found.search.pid != process.pid:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)

    def assert_like_the_first(self, study: str) -> None:
        """Asserts that the study is the undisturbed one again, and that MLflow has it once."""
        first = study_of(self.folder)
        now = self.study(study)
        assert results_of(now) == results_of(first)
        (expected,) = first.user_attrs["conclusion"]["results"]
        (result,) = now.user_attrs["conclusion"]["results"]
        assert result == expected
        mlflow.set_tracking_uri(self.tracking_uri)
        client = MlflowClient(self.tracking_uri)
        parent, trials = runs_of(client, study)
        assert parent.info.status == "FINISHED"
        assert sorted(trials) == [*range(N_TRIALS)]
        keys = [tags["mlflow.ncf.key"] for tags in self.tags_of_whole_runs(client, study)]
        assert len(keys) == len({*keys}) == N_TRIALS + 2  # the study, and one fresh seed
        for trial in now.get_trials():
            run_id = trials[trial.number].info.run_id
            history = client.get_metric_history(run_id, "validation/ndcg_10")
            assert {point.step: point.value for point in history} == trial.intermediate_values
            query = f"source_run_id = '{run_id}'"
            (model,) = client.search_logged_models([parent.info.experiment_id], query)
            assert client.list_logged_model_artifacts(str(model.model_id))

    def tags_of_whole_runs(self, client: MlflowClient, study: str) -> list[dict[str, str]]:
        runs = self.runs(client, study)
        assert not [one for one in runs if one.info.status == "RUNNING"]
        return [r.data.tags for r in runs if r.data.tags.get("ncf.state") in ("finished", "pruned")]

    def runs(self, client: MlflowClient, study: str) -> list[Any]:
        experiment = client.get_experiment_by_name("shop")
        assert experiment is not None
        return [*client.search_runs([experiment.experiment_id], f"tags.`ncf.study` = '{study}'")]

    def record_of(self, study: str) -> object:
        """Returns all that the record has of a study, to see whether it changes."""
        record = self.study(study)
        return record.get_trials(), record.user_attrs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Both servers, and the study that nothing happens to."""
    folder = tmp_path_factory.mktemp("place")
    postgres = Postgres()
    try:
        storage, store = map(postgres.create_database, ("optuna", "mlflow"))
        write_interactions(planted(n_users=1200, n_items=160, seed=0), folder / "shop.csv")
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
            patch.chdir(folder)
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            assert run(parse([*OPTIONS])) == 0
        driver = store.replace("postgresql:", "postgresql+psycopg:")
        with serving(folder, driver) as port:
            yield Place(folder, postgres, storage, f"http://127.0.0.1:{port}")
    finally:
        postgres.remove()


@pytest.fixture
def begin(place: Place) -> Iterator[Callable[[str, str], subprocess.Popen[str]]]:
    """Starts searches, which are ended after the test, whatever has become of it."""
    begun: list[subprocess.Popen[str]] = []

    def start(machine: str, study: str) -> subprocess.Popen[str]:
        begun.append(place.begin(machine, study))
        return begun[-1]

    yield start
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


Begin = Callable[[str, str], subprocess.Popen[str]]


def test_what_a_stopped_process_has_locked_is_free_after_a_while(place: Place) -> None:
    """On each connection, also on the first, which is opened before the others."""
    storage = cast(Database, open_storage(place.storage))
    for _ in range(2):
        with storage.engine.connect() as connection:
            limit = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout")
            assert limit.scalar() == f"{IDLE_SECONDS}s"
            with storage.engine.connect() as another:
                limit = another.exec_driver_sql("SHOW idle_in_transaction_session_timeout")
                assert limit.scalar() == f"{IDLE_SECONDS}s"


def test_of_searches_that_begin_at_once_one_has_the_study(place: Place, begin: Begin) -> None:
    race(place.storage, n_rounds=10)
    both = [begin("one", "raced"), begin("two", "raced")]
    told = [process.communicate(timeout=DEADLINE)[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], told
    refused = told[[process.returncode for process in both].index(2)]
    assert "study 'raced' is being searched by process" in refused
    assert "python -m ncf" not in refused
    place.assert_like_the_first("raced")
    done = told[[process.returncode for process in both].index(0)]
    assert f"--user ID --tracking-uri {place.tracking_uri}" in done  # the next step has the store


def test_another_machine_goes_on_with_a_study_whose_machine_died(
    place: Place, begin: Begin
) -> None:
    dead = begin("dying", "orphan")
    place.wait_for_trials("orphan", 3, dead)
    seen = describe("orphan", place.storage)  # as from any machine
    assert f"being searched by process {dead.pid} on dying: " in seen[-1]
    os.killpg(dead.pid, signal.SIGKILL)
    refused = begin("heir", "orphan")
    told, _ = refused.communicate(timeout=DEADLINE)
    if refused.returncode == 2:  # else it took so long to start that the lease was old by then
        assert f"is being searched by process {dead.pid} on dying, since " in told
        time.sleep(OLD_SECONDS)
        heir = begin("heir", "orphan")
        told, _ = heir.communicate(timeout=DEADLINE)
        assert heir.returncode == 0, told
    assert f"study 'orphan' is taken over from process {dead.pid} on dying" in told
    place.assert_like_the_first("orphan")


@pytest.mark.parametrize("is_late", [False, True])
def test_a_stopped_search_that_goes_on_finds_itself_replaced_and_records_nothing(
    place: Place, begin: Begin, is_late: bool
) -> None:
    study = f"stopped-{is_late}"
    stopped = begin("sleeping", study)
    place.wait_for_trials(study, 3, stopped)
    os.kill(stopped.pid, signal.SIGSTOP)
    time.sleep(OLD_SECONDS + 1)
    heir = begin("heir", study)
    if is_late:
        told, _ = heir.communicate(timeout=DEADLINE)
        assert heir.returncode == 0, told
        before = place.record_of(study)
    else:
        place.wait_for_holder(study, heir)
    os.kill(stopped.pid, signal.SIGCONT)
    told, _ = stopped.communicate(timeout=DEADLINE)
    assert stopped.returncode == 2, told
    assert f"process {heir.pid} on heir has taken it over; so it stops here" in told
    if is_late:
        assert place.record_of(study) == before
        # A run that it was about to begin in MLflow may have arrived: the same command closes it.
        again = begin("heir", study)
        told, _ = again.communicate(timeout=DEADLINE)
        assert again.returncode == 0, told
    else:
        told, _ = heir.communicate(timeout=DEADLINE)
        assert heir.returncode == 0, told
    place.assert_like_the_first(study)


def test_a_search_waits_for_a_database_that_is_started_again(place: Place, begin: Begin) -> None:
    process = begin("patient", "restart")
    for n in (1, 3):
        place.wait_for_trials("restart", n, process)
        place.postgres.stop()
        time.sleep(3.0)
        place.postgres.start()
    told, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, told
    place.assert_like_the_first("restart")
