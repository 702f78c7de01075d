"""What a search outlasts: kills, faults of MLflow, a full disk, and a thousand trials.

    python experiments/benchmarks/endurance.py kills --times 50
    python experiments/benchmarks/endurance.py faults
    python experiments/benchmarks/endurance.py full      # as root, or where users may mount
    python experiments/benchmarks/endurance.py soak --trials 1000

Each part runs `search.py` on small planted data in folders of its own, and afterwards compares the
study with one that nothing happened to: the same trials with the same metrics of every epoch, and
in MLflow each of them once, whole, and nothing left running. It ends with status 1 where that is
not so.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import psutil

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))  # for what the tests have

from mlflow import MlflowClient  # noqa: E402

from ncf.search import journal
from ncf.search.storage import open_storage  # noqa: E402
from tests.conftest import planted  # noqa: E402
from tests.proxy import ERROR, LOSE, PASS, REFUSE, Proxy  # noqa: E402

DATA = ("--data", "shop.csv", "--columns", "user=customer,item=sku,timestamp=bought")
SIZE = ("--epochs", "6", "--jobs", "2", "--confirm", "2", "--confirm-seeds", "2")
SEARCH = (*DATA, *SIZE, "--baselines", "popularity")
TRIALS = 16
JOURNAL = Path("mlruns/optuna.journal")

Found = tuple[str, list[str]]  # what was done, and what is wrong after it


# Searches


def prepare(folder: Path, n_users: int = 1200, n_items: int = 160) -> Path:
    """Makes a folder with a file of interactions."""
    folder.mkdir(parents=True, exist_ok=True)
    data = planted(n_users, n_items, seed=0)
    users = data.user_ids.repeat(data.indptr[1:] - data.indptr[:-1])
    items = data.item_ids[data.items]
    frame = pd.DataFrame({"customer": users, "sku": items, "bought": data.timestamps})
    frame.to_csv(folder / "shop.csv", index=False)
    return folder


def begin(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Starts a search."""
    command = [sys.executable, str(ROOT / "search.py"), *SEARCH, *options]
    with (folder / "output.txt").open("a") as output:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, text=True)


def search(folder: Path, *options: str) -> int:
    """Runs a search; returns its exit status."""
    return begin(folder, "--trials", str(TRIALS), *options).wait()


def n_lines(folder: Path) -> int:
    """Returns how far a study's journal has come."""
    file = folder / JOURNAL
    return file.read_bytes().count(b"\n") if file.exists() else 0


def wait_for_lines(folder: Path, n: int, process: subprocess.Popen[str]) -> None:
    """Waits until the journal has grown by some lines, or the search has ended."""
    before = n_lines(folder)
    while n_lines(folder) < before + n and process.poll() is None:
        time.sleep(0.02)


def study_of(folder: Path) -> optuna.Study:
    """Returns a folder's study."""
    storage = open_storage(str(folder / JOURNAL))
    return optuna.load_study(storage=storage, study_name="shop")


def results_of(folder: Path) -> list[Any]:
    """Returns all that must be equal in two studies that are to be the same."""
    study = study_of(folder)
    found: list[Any] = []
    for trial in study.get_trials():
        reports = [(r.epoch, r.loss, r.metrics) for r in journal.reports_of(trial)]
        outcome = journal.outcome_of(trial)
        of_outcome = (outcome.best_epoch, outcome.metrics, outcome.metrics_full)
        found.append((trial.number, trial.state, trial.params, trial.value, reports, of_outcome))
    for number, seeds in sorted(study.user_attrs["confirmation"].items()):
        found += [(number, index, seeds[index]["metrics"]) for index in sorted(seeds)]
    results = study.user_attrs["conclusion"]["results"]
    return [*found, *[{**result, "note": ""} for result in results]]


def differences(folder: Path, unbroken: Path) -> list[str]:
    """Returns where a study is not what the unbroken one is."""
    pairs = zip(results_of(folder), results_of(unbroken), strict=False)
    wrong = [f"differs: {str(ours)[:80]}" for ours, theirs in pairs if ours != theirs]
    counts = len(results_of(folder)), len(results_of(unbroken))
    return wrong + ([f"{counts[0]} results for {counts[1]}"] if counts[0] != counts[1] else [])


def troubles(folder: Path, uri: str | None = None) -> list[str]:
    """Returns what MLflow lacks of a study that has ended, or has too much of."""
    client = MlflowClient(uri or f"sqlite:///{folder}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("shop")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=10_000)
    wrong = [f"running: {run.data.tags}" for run in runs if run.info.status == "RUNNING"]
    whole = [run for run in runs if run.data.tags.get("ncf.state") in ("finished", "pruned")]
    keys = Counter(run.data.tags["ncf.key"] for run in whole)
    trials = study_of(folder).get_trials()
    expected = [f"trial-{trial.number}" for trial in trials]
    expected += [key for key in keys if key.startswith("confirmation")]
    expected += ["study", "baseline-popularity"]
    wrong += [f"{key}: {keys[key]} runs" for key in {*expected, *keys} if keys[key] != 1]
    wrong += [] if len(expected) == len(trials) + 6 else [f"confirmations: {expected}"]
    by_key = {run.data.tags["ncf.key"]: run for run in whole}
    models = client.search_logged_models([experiment.experiment_id], max_results=5_000)
    of_runs = Counter(str(model.source_run_id) for model in models if model.status == "READY")
    wrong += [f"a model is {m.status}: {m.name}" for m in models if m.status != "READY"]
    for trial in trials:
        run_id = by_key[f"trial-{trial.number}"].info.run_id
        for name in ("train/loss", "validation/ndcg_10"):
            steps = [metric.step for metric in client.get_metric_history(run_id, name)]
            if steps != list(trial.intermediate_values):
                wrong.append(f"trial {trial.number}, {name}: epochs {steps}")
        if len(client.get_metric_history(run_id, "validation_best/ndcg_10")) != 1:
            wrong.append(f"trial {trial.number}: its best is there more than once")
        if of_runs[run_id] != 1:
            wrong.append(f"trial {trial.number}: {of_runs[run_id]} models")
    parent = by_key["study"].info.run_id
    if len(client.get_metric_history(parent, "test/ndcg_10")) != 1 or of_runs[parent] != 1:
        wrong.append(f"results on test: {of_runs[parent]} models")
    if (n := len(client.search_model_versions("name = 'gmf-shop'"))) != 1:
        wrong.append(f"{n} registered versions")
    names = {file.path for file in client.list_artifacts(parent)}
    if missing := {"report.html", "test_ranks.npz", "catalogue.npz", "candidates.npz"} - names:
        wrong.append(f"artifacts missing: {missing}")
    left = [path.name for path in (folder / "mlruns/studies/shop").rglob("*") if path.is_file()]
    return wrong + [f"left over: {name}" for name in left if name not in ("lock", "report.html")]


# Kills


def kills(folder: Path, times: int, seed: int) -> Iterator[Found]:
    """Kills searches at random moments, `times` in all, and yields what was found of each."""
    rng = random.Random(seed)
    unbroken = prepare(folder / "unbroken")
    start = time.monotonic()
    assert search(unbroken) == 0
    whole = time.monotonic() - start
    yield f"unbroken, {whole:.0f} s", troubles(unbroken)
    n_killed, round_ = 0, 0
    while n_killed < times:
        round_ += 1
        ours = prepare(folder / f"killed-{round_}")
        died: Counter[str] = Counter()
        process = begin(ours, "--trials", str(TRIALS))
        while True:
            if rng.random() < 0.8:  # most of them after the start, which is the longer part
                wait_for_lines(ours, 1, process)
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(rng.uniform(0, 0.2 * whole))
                break
            what = rng.choice(("coordinator", "worker", "both"))
            died[what] += _kill(process, what)
            if what != "worker":
                process.wait()
                process = begin(ours, "--trials", str(TRIALS))
        n_killed += died.total()
        wrong = [] if status == 0 else [f"exit status {status}"]
        wrong += differences(ours, unbroken) + troubles(ours)
        yield f"round {round_}, {n_killed} processes killed so far: {dict(died)}", wrong


def _kill(process: subprocess.Popen[str], what: str) -> int:
    """Kills the coordinator, a worker, or all of them; returns how many that were."""
    with suppress(psutil.NoSuchProcess):
        coordinator = psutil.Process(process.pid)
        children = coordinator.children(recursive=True)
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        doomed = {"coordinator": [coordinator], "worker": workers[:1]}
        victims = doomed.get(what, [coordinator, *workers])
        for victim in victims:
            victim.kill()
        return len(victims)
    return 0  # it has just ended


# Faults of MLflow


@contextmanager
def server(folder: Path, port: int, store: str = "server.db") -> Iterator[Callable[[bool], None]]:
    """Runs a real MLflow server; yields a function that kills it, or starts it again."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/{store}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    processes: list[subprocess.Popen[bytes]] = []

    def set_running(is_running: bool) -> None:
        if processes:
            process = processes.pop()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if is_running:
            with (folder / "server.txt").open("a") as log:
                processes.append(
                    subprocess.Popen(
                        command, env=environment, stdout=log, stderr=log, start_new_session=True
                    )
                )
            while not _answers(port):
                time.sleep(0.2)

    set_running(True)
    try:
        yield set_running
    finally:
        set_running(False)


def _answers(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read())
    except OSError:
        return False


def faults(folder: Path, port: int, seed: int) -> Iterator[Found]:
    """Runs searches while MLflow fails in every way, and yields what was found."""
    rng = random.Random(seed)
    unbroken = prepare(folder / "unbroken")
    assert search(unbroken) == 0

    def wrong_with(ours: Path, uri: str | None, status: int) -> list[str]:
        wrong = [] if status == 0 else [f"exit status {status}"]
        return wrong + differences(ours, unbroken) + troubles(ours, uri)

    direct = f"http://127.0.0.1:{port}"
    with server(folder / "server-1", port), Proxy(port) as proxy:
        ours = prepare(folder / "flaky")
        kinds = [PASS] * 47 + [ERROR, REFUSE, LOSE]
        proxy.fault = lambda _: rng.choice(kinds)
        status = search(ours, "--tracking-uri", proxy.uri)
        yield f"requests {dict(proxy.counts)}", wrong_with(ours, direct, status)

    with server(folder / "server-2", port) as set_running:
        ours = prepare(folder / "restarted")
        process = begin(ours, "--trials", str(TRIALS), "--tracking-uri", direct)
        for _ in range(2):
            wait_for_lines(ours, 40, process)
            set_running(False)
            time.sleep(8.0)
            set_running(True)
        status = process.wait()
        yield "server killed and started again, twice", wrong_with(ours, direct, status)

    with server(folder / "server-3", port) as set_running:
        ours = prepare(folder / "gone")
        process = begin(ours, "--trials", str(TRIALS), "--tracking-uri", direct)
        wait_for_lines(ours, 60, process)
        set_running(False)
        status = process.wait()
        told = "the same command writes it" in (ours / "output.txt").read_text()
        wrong = [] if (status, told) == (1, True) else [f"exit status {status}, told: {told}"]
        yield "server gone for good", wrong + differences(ours, unbroken)
        times = [journal.outcome_of(trial).time for trial in study_of(ours).get_trials()]
        start = time.monotonic()
        status = search(ours, "--tracking-uri", direct)
        wrong = [] if status == 2 else [f"exit status {status}"]
        yield f"the same command with the server down, {time.monotonic() - start:.0f} s", wrong
        set_running(True)
        status = search(ours, "--tracking-uri", direct)
        again = [journal.outcome_of(trial).time for trial in study_of(ours).get_trials()]
        wrong = [] if again == times else ["trained again"]
        yield "the same command with the server back", wrong + wrong_with(ours, direct, status)

    ours = prepare(folder / "locked")
    process = begin(ours, "--trials", str(TRIALS))
    wait_for_lines(ours, 40, process)
    with sqlite3.connect(ours / "mlruns/mlflow.db", timeout=60, isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(45.0)  # more than MLflow waits
        database.execute("ROLLBACK")
    yield "SQLite locked for 45 s", wrong_with(ours, None, process.wait())


def full(folder: Path, seed: int) -> Iterator[Found]:
    """Fills the disk of a search again and again, for some seconds each time."""
    if os.environ.get("NCF_ENDURANCE_MOUNTED") is None:  # again, with mounts of its own
        environment = {**os.environ, "NCF_ENDURANCE_MOUNTED": "1"}
        command = ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)
    rng = random.Random(seed)
    unbroken = prepare(folder / "unbroken")
    assert search(unbroken) == 0
    ours = folder / "full"
    ours.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(ours)], check=True)
    prepare(ours)
    process = begin(ours, "--trials", str(TRIALS))
    times = 0
    while process.poll() is None:
        wait_for_lines(ours, rng.randint(1, 60), process)
        with (ours / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                times += 1
        time.sleep(rng.uniform(1, 5))
        (ours / "filler").unlink()
    wrong = [] if process.returncode == 0 else [f"exit status {process.returncode}"]
    wrong += differences(ours, unbroken) + troubles(ours)
    yield f"disk full {times} times", wrong


# Soak


def soak(folder: Path, n_trials: int, port: int) -> Iterator[Found]:
    """Runs a study of many tiny trials; yields figures of each tenth of it."""
    ours = prepare(folder / "soak", n_users=200, n_items=60)
    process = begin(ours, "--trials", str(n_trials), "--confirm", "0", "--no-prune")
    coordinator = psutil.Process(process.pid)
    samples: list[tuple[float, float, float, int]] = []
    while process.poll() is None:
        with suppress(psutil.Error):
            workers = sum(worker.memory_info().rss for worker in coordinator.children())
            own, n_files = coordinator.memory_info().rss, coordinator.num_fds()
            samples.append((time.time(), own / 1e6, workers / 1e6, n_files))
        time.sleep(0.5)
    trials = study_of(ours).get_trials()
    ends = sorted(t.datetime_complete.timestamp() for t in trials if t.datetime_complete)
    step = max(2, n_trials // 10)
    for first in range(0, len(ends) - step + 1, step):
        last = first + step - 1
        _, own_mb, workers_mb, n_files = max(s for s in samples if s[0] <= ends[last])
        each = (ends[last] - ends[first]) / (step - 1) * 1000
        memory = f"coordinator {own_mb:.0f} MB, workers {workers_mb:.0f} MB, {n_files} open files"
        yield f"trials {first}-{last}: {each:.0f} ms each, {memory}", []
    wrong = [] if process.returncode == 0 else [f"exit status {process.returncode}"]
    yield f"{len(ends)} trials, then {time.time() - ends[-1]:.0f} s to the end", wrong
    with server(ours / "mlruns", port, "mlflow.db"):
        client = MlflowClient(f"http://127.0.0.1:{port}")
        experiment = client.get_experiment_by_name("shop")
        assert experiment is not None
        for query, order in (
            ("tags.`ncf.study` = 'shop'", "metrics.`validation_best/ndcg_10` DESC"),
            ("tags.`ncf.state` = 'finished' and params.optimizer = 'sgd'", "start_time DESC"),
        ):
            start = time.monotonic()
            ids = [experiment.experiment_id]
            found = client.search_runs(ids, query, order_by=[order], max_results=100)
            seconds = time.monotonic() - start
            yield f"the UI's query, {query}, {order}: first {len(found)} in {seconds:.2f} s", []


def main() -> None:
    """Runs a part and prints what it yields."""
    parser = argparse.ArgumentParser(description="Shows what a search outlasts.")
    parser.add_argument("part", choices=("kills", "faults", "full", "soak"))
    parser.add_argument("--times", type=int, default=50, help="processes to kill (default: 50)")
    parser.add_argument("--trials", type=int, default=1000, help="of the soak (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--port", type=int, default=5100, help="of the server (default: 5100)")
    parser.add_argument("--folder", type=Path, help="where to (default: a temporary one)")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    parts = {
        "kills": lambda: kills(folder, options.times, options.seed),
        "faults": lambda: faults(folder, options.port, options.seed),
        "full": lambda: full(folder, options.seed),
        "soak": lambda: soak(folder, options.trials, options.port),
    }
    is_well = True
    for done, wrong in parts[options.part]():
        print(f"{done}: {'; '.join(wrong) or 'as it should be'}", flush=True)
        is_well &= not wrong
    if options.folder is None and is_well:
        shutil.rmtree(folder)
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
