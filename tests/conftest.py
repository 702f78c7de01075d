"""Data that several test files share: made from a seed, with tastes planted in it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads cost more than such small steps
# `python -m pytest` is enough: what the tests start finds this environment's commands.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from ncf.data.interactions import Interactions, from_columns
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.splitting import Split, leave_one_out
from ncf.trials.data import TrialData

PROJECT = Path(__file__).parent.parent
settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile("long", max_examples=20_000, deadline=None)
settings.load_profile("quick")

N_GROUPS = 4
COLUMNS = "user=customer,item=sku,timestamp=bought"
COMMON = ("--data", "shop.csv", "--columns", COLUMNS, "--epochs", "6")
# Files that share the searched study: in one process. Slow ones search again, beside them.
SHARING = (
    "tests/commands/test_search.py",
    "tests/commands/test_studies.py",
    "tests/tracking/test_versions.py",
)
N_TRIALS = 14  # more than the lag, so that late trials are decided from early ones


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Has a file's tests run in one process, and all that share the searched study as well."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc] # it ships no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "searched" if file in SHARING else file

    return Scheduling(config, log)


def planted(n_users: int, n_items: int, seed: int) -> Interactions:
    """Returns interactions of users in four taste groups, nine in ten with their group's items.

    User u and item i are of groups u % 4 and i % 4. Items of a group are equally popular, so that
    only the taste tells them apart. About a quarter of each group's items are touched by a user.
    Timestamps are random and often equal.
    """
    rng = np.random.default_rng(seed)
    users, items = [], []
    for user in range(n_users):
        is_own = np.arange(n_items) % N_GROUPS == user % N_GROUPS
        weights = np.where(is_own, 0.9 / is_own.sum(), 0.1 / (~is_own).sum())
        n = max(4, n_items // 10)
        users.append(np.full(n, user))
        items.append(rng.choice(n_items, n, replace=False, p=weights))
    timestamps = rng.integers(0, 50, sum(map(len, items)))
    return from_columns("planted", np.concatenate(users), np.concatenate(items), timestamps)


def write_interactions(data: Interactions, path: Path) -> None:
    """Writes a person's CSV, with the column names of `COLUMNS` and texts for ids."""
    users = data.user_ids.repeat(data.indptr[1:] - data.indptr[:-1])
    pd.DataFrame(
        {
            "customer": [f"c{user}" for user in users],
            "sku": [f"SKU-{item}" for item in data.item_ids[data.items]],
            "bought": data.timestamps,
        }
    ).to_csv(path, index=False)


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes back what an earlier test has left: the store in use, the passwords of addresses."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("ncf.redaction.learned", set())


@pytest.fixture(scope="session")
def split() -> Split:
    """Planted tastes of 160 users and 80 items, split."""
    return leave_one_out(planted(160, 80, seed=1))


@pytest.fixture(scope="session")
def trial_data(split: Split) -> TrialData:
    """What a trial is handed of `split`, with 40 negatives a user."""
    whole, held_out = split.whole, split.validation
    candidates = draw_candidates(
        whole.indptr, whole.items, whole.n_items, held_out.users, held_out.items, 40, seed=2
    )
    return TrialData(split.train, held_out, candidates)


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a person's CSV on which a search has run, and what the search printed.

    It runs in this process, which has loaded all that it needs; `test_search.py` runs the command.
    """
    from ncf.commands.command_line import parse
    from ncf.commands.search import run  # here: most files need neither Optuna nor MLflow

    folder = tmp_path_factory.mktemp("person")
    write_interactions(planted(n_users=1200, n_items=160, seed=0), folder / "shop.csv")
    options = parse([*COMMON, "--trials", str(N_TRIALS), "--jobs", "2"])
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert run(options) == 0, out.getvalue()
    return folder, out.getvalue()


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real `mlflow server` on this machine; its port."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, f"sqlite:///{folder}/mlflow.db") as port:
        yield port


@contextlib.contextmanager
def serving(folder: Path, database: str) -> Iterator[int]:
    """Runs an `mlflow server` that keeps its files in a folder; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", database]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
