"""What a search outlasts: kills, Ctrl-C, faults of MLflow, many trials. Slow: `pytest -m slow`.

Each study is compared with one that nothing happened to: the same trials with the same metrics of
every epoch, the same results on test, and in MLflow each of them once, whole, and none running.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import mlflow
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from ncf.commands.command_line import parse
from ncf.commands.search import run
from tests.conftest import COMMON, N_TRIALS, PROJECT, planted, write_interactions
from tests.proxy import ERROR, LOSE, PASS, REFUSE, Proxy
from tests.studies import results_of, runs_of, study_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX's"),
]
TRIALS_ONLY = ("--confirm", "0", "--baselines", "none", "--no-register")
AS_A_WHOLE = ("--baselines", "popularity", "--no-register")  # others are tuned by the clock
LOCKED = 25.0  # seconds, more than MLflow waits for a lock
DEADLINE = 120.0  # seconds; for a search that hangs, not for a slow machine


def options_of(study: str, *options: str) -> list[str]:
    return [*COMMON, *options, "--study", study, "--trials", str(N_TRIALS)]


def begin(
    folder: Path, study: str, *options: str, stdout: int | IO[bytes] = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Starts the real command."""
    return subprocess.Popen(
        [sys.executable, PROJECT / "search.py", *options_of(study, *options)],
        cwd=folder,
        stdout=stdout,
        stderr=None if stdout is subprocess.PIPE else subprocess.PIPE,
        text=True,
        # a shell starts its background jobs deaf to Ctrl-C, and so would be the tests in one
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def n_lines(folder: Path) -> int:
    """Returns how many things Optuna's record of the folder's studies tells."""
    file = folder / "mlruns" / "optuna.journal"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def wait_for_lines(folder: Path, n: int, process: subprocess.Popen[str]) -> None:
    """Waits until the record has so many more lines, or the search has ended."""
    deadline, before = time.monotonic() + DEADLINE, n_lines(folder)
    while n_lines(folder) < before + n and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    return []  # it has just ended


def runs_of_experiment(client: MlflowClient, condition: str) -> list[Run]:
    experiment = client.get_experiment_by_name("shop")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], condition))


def conclusion_of(folder: Path, study: str) -> list[Any]:
    """Returns the confirmed trials' metrics by seed, and what GMF and popularity have on test."""
    attributes = study_of(folder, study).user_attrs
    seeds = [
        (number, index, seed["metrics"])
        for number, of_trial in sorted(attributes["confirmation"].items())
        for index, seed in sorted(of_trial.items())
    ]
    results = [{**result, "note": ""} for result in attributes["conclusion"]["results"]]
    return [*seeds, *[one for one in results if one["name"] in ("GMF", "popularity")]]


def assert_like_the_first(client: MlflowClient, folder: Path, study: str) -> None:
    """Asserts that the study is the searched one again, and that MLflow has all of it once."""
    assert results_of(study_of(folder, study)) == results_of(study_of(folder))
    assert conclusion_of(folder, study) == conclusion_of(folder, "shop")
    runs = runs_of_experiment(client, f"tags.`ncf.study` = '{study}'")
    assert not [one for one in runs if one.info.status == "RUNNING"]
    whole = [one for one in runs if one.data.tags.get("ncf.state") in ("finished", "pruned")]
    keys = Counter(one.data.tags["mlflow.ncf.key"] for one in whole)
    assert set(keys.values()) == {1}
    kinds = Counter(key.split("-")[0] for key in keys)
    assert kinds == {"study": 1, "trial": N_TRIALS, "confirmation": 9, "baseline": 1}
    parent, trials = runs_of(client, study)
    models = client.search_logged_models([parent.info.experiment_id], max_results=5_000)
    n_models = Counter(model.source_run_id for model in models if str(model.status) == "READY")
    for trial in study_of(folder, study).get_trials():
        run_id = trials[trial.number].info.run_id
        for name in ("train/loss", "validation/ndcg_10"):
            steps = [metric.step for metric in client.get_metric_history(run_id, name)]
            assert steps == list(trial.intermediate_values)
        assert len(client.get_metric_history(run_id, "validation_best/ndcg_10")) == 1
        assert n_models[run_id] == 1
    assert len(client.get_metric_history(parent.info.run_id, "test/ndcg_10")) == 1
    assert n_models[parent.info.run_id] == 1
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "test_ranks.npz", "candidates.npz"} <= files
    assert sum(file.startswith("catalogue-") for file in files) == 1
    scratch = [path for path in (folder / "mlruns/studies" / study).rglob("*") if path.is_file()]
    assert {path.name for path in scratch} <= {"lock", "report.html", "search.json"}


@pytest.fixture
def client(searched: tuple[Path, str]) -> MlflowClient:
    mlflow.set_tracking_uri(f"sqlite:///{searched[0]}/mlruns/mlflow.db")
    return MlflowClient()


def test_a_lost_worker_ctrl_c_and_other_numbers_of_jobs_change_nothing(
    searched: tuple[Path, str], client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = searched
    process = begin(folder, "stopped", "--jobs", "3", *AS_A_WHOLE)
    wait_for_lines(folder, 40, process)
    workers_of(process)[0].kill()  # its trial is trained again, by another
    wait_for_lines(folder, 10, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "the same command continues it" in output
    assert not runs_of_experiment(client, "attributes.status = 'RUNNING'")
    monkeypatch.chdir(folder)
    assert run(parse(options_of("stopped", *AS_A_WHOLE, "--jobs", "1"))) == 0
    assert_like_the_first(client, folder, "stopped")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_of_a_scheduler_is_an_orderly_stop(
    searched: tuple[Path, str], client: MlflowClient, number: signal.Signals
) -> None:
    folder, _ = searched
    study = f"ended by {number.name}"
    process = begin(folder, study, "--jobs", "2", *AS_A_WHOLE)
    wait_for_lines(folder, 40, process)
    workers = workers_of(process)
    for worker in workers:  # as a scheduler does, or a terminal that is closed
        worker.send_signal(number)
    process.send_signal(number)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + number
    assert "the same command continues it" in output
    assert not any(worker.is_running() for worker in workers)
    assert not runs_of_experiment(client, "attributes.status = 'RUNNING'")
    process = begin(folder, study, "--jobs", "1", *AS_A_WHOLE)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert_like_the_first(client, folder, study)


def test_output_that_cannot_be_written_ends_no_search(searched: tuple[Path, str]) -> None:
    folder, _ = searched
    process = begin(folder, "unread", "--jobs", "2", *TRIALS_ONLY)
    assert process.stdout is not None
    process.stdout.close()  # as `head` does
    assert process.wait(DEADLINE) == 0
    with open("/dev/full", "wb") as full:
        process = begin(folder, "full", "--jobs", "2", *TRIALS_ONLY, stdout=full)
        _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert "what was printed is lost in part" in errors
    for study in ("unread", "full"):
        assert results_of(study_of(folder, study)) == results_of(study_of(folder))


def test_kills_at_random_moments_change_nothing(
    searched: tuple[Path, str], client: MlflowClient
) -> None:
    folder, _ = searched
    seed = random.randrange(1000)
    print(f"kills of seed {seed}")  # shown where the test fails
    rng = random.Random(seed)
    process = begin(folder, "killed", "--jobs", "2", *AS_A_WHOLE)
    for _ in range(3):
        wait_for_lines(folder, rng.randint(1, 150), process)
        time.sleep(rng.uniform(0.0, 0.3))  # in the midst of things that the record does not tell
        what = rng.choice(("coordinator", "worker", "both"))
        print(f"{what} after {n_lines(folder)} lines")
        workers = workers_of(process)
        if what != "worker":
            process.kill()
        for worker in workers[:1] if what == "worker" else workers if what == "both" else []:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        if what != "worker":
            process.communicate(timeout=DEADLINE)
            process = begin(folder, "killed", "--jobs", "2", *AS_A_WHOLE)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert_like_the_first(client, folder, "killed")


def test_a_server_that_fails_now_and_then_and_is_away_for_a_while_has_all_in_the_end(
    searched: tuple[Path, str], tracking_server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = searched
    rng = random.Random(0)
    away: list[float] = []  # until when

    def fault(_: str) -> str:
        if proxy.counts.total() >= 200 and not away:
            away.append(time.monotonic() + 3.0)
        if away and time.monotonic() < away[0]:
            return REFUSE
        return rng.choice([PASS] * 47 + [ERROR, REFUSE, LOSE])

    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # so that each fault is an error
    with Proxy(tracking_server) as proxy:
        proxy.fault = fault
        options = options_of("faults", *AS_A_WHOLE, "--tracking-uri", proxy.uri)
        assert run(parse(options)) == 0
        assert min(proxy.counts[kind] for kind in (ERROR, REFUSE, LOSE)) > 0
    direct = f"http://127.0.0.1:{tracking_server}"
    mlflow.set_tracking_uri(direct)
    assert_like_the_first(MlflowClient(), folder, "faults")


def test_what_follows_the_trials_is_done_though_no_trial_is_left(
    searched: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(searched[0])
    trials = [*COMMON, "--study", "later", "--trials", "2", "--jobs", "1"]
    assert run(parse([*trials, *TRIALS_ONLY])) == 0
    capsys.readouterr()
    after = ("--confirm", "1", "--confirm-seeds", "2", *AS_A_WHOLE)
    assert run(parse([*trials, *after])) == 0
    output = capsys.readouterr().out
    assert "no trial is left to train" in output
    assert "Trained again with 2 fresh seeds" in output
    assert "\n  popularity " in output


def test_a_locked_database_has_all_in_the_end(
    searched: tuple[Path, str],
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = searched
    monkeypatch.chdir(folder)
    before = n_lines(folder)

    def lock() -> None:
        while n_lines(folder) < before + 40:
            time.sleep(0.01)
        with closing(sqlite3.connect("mlruns/mlflow.db", timeout=60)) as database:
            database.execute("BEGIN EXCLUSIVE")
            time.sleep(LOCKED)
            database.rollback()

    other = threading.Thread(target=lock)
    other.start()
    assert run(parse(options_of("locked", *TRIALS_ONLY))) == 0
    other.join()
    told = capsys.readouterr().err  # the second where the trials were through before it was open
    assert "MLflow did not take" in told or "waiting for MLflow" in told
    _, trials = runs_of(client, "locked")
    assert sorted(trials) == list(range(N_TRIALS))


def test_many_trials_open_no_more_files_than_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_interactions(planted(n_users=200, n_items=60, seed=0), tmp_path / "shop.csv")
    n_open = []
    for n_trials in ("10", "40"):
        arguments = [*COMMON, *TRIALS_ONLY, "--no-prune", "--jobs", "2", "--trials", n_trials]
        assert run(parse(arguments)) == 0
        n_open.append(psutil.Process().num_fds())
    assert len(study_of(tmp_path).get_trials()) == 40
    assert n_open[1] < n_open[0] + 15  # less than one for every second trial
