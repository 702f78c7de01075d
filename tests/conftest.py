"""Data that several test files share: made from a seed, with tastes planted in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads cost more than such small steps

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
N_TRIALS = 14  # more than the lag, so that late trials are decided from early ones


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


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes back what `mlflow.set_tracking_uri` of an earlier test has put in the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


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


def search(folder: Path, *options: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the real command on the person's CSV in the folder."""
    command = [sys.executable, str(PROJECT / "search.py"), *COMMON, *options]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == expect, result.stdout + result.stderr
    return result


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a person's CSV on which a search has run, and what the search printed."""
    folder = tmp_path_factory.mktemp("person")
    data = planted(n_users=1200, n_items=160, seed=0)
    users = data.user_ids.repeat(data.indptr[1:] - data.indptr[:-1])
    pd.DataFrame(
        {
            "customer": [f"c{user}" for user in users],
            "sku": [f"SKU-{item}" for item in data.item_ids[data.items]],
            "bought": data.timestamps,
        }
    ).to_csv(folder / "shop.csv", index=False)
    result = search(folder, "--trials", str(N_TRIALS), "--jobs", "2")
    assert result.stderr == ""  # no warning, no bar: it is not a terminal
    return folder, result.stdout
