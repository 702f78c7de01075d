"""Part `lists`: the top 10 of a million users into one parquet file, as `recommend --all` does it.

Factors are random, which costs the same as trained ones; 50 seen items a user are left out.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from measurement import Row, Setup, forget_peak, in_fresh_process, peak_megabytes

from ncf.commands.lists import write_lists
from ncf.serving.catalogue import Catalogue
from ncf.serving.factors import Factors
from ncf.serving.recommender import Recommender

DIM, N_SEEN, K = 64, 50, 10
SIZES = ((1_000_000, 20_000), (1_000_000, 100_000))  # users and items


def measure(setup: Setup) -> list[Row]:
    """Returns the rows of the part."""
    rows = []
    for n_users, n_items in ((20_000, 1_000),) if setup.quick else SIZES:
        (seconds, growth, size), _ = in_fresh_process(
            write, n_users, n_items, str(setup.folder / "top10.parquet")
        )
        what = f"{n_users:,} users, {n_items:,} items, dim {DIM}"
        rows.append(Row("lists", what, seconds, "s", "300 s", seconds / 300, "minutes"))
        rows.append(Row("lists", f"memory added, {what}", growth, "MB"))
        rows.append(Row("lists", f"file, {what}", size, "MB"))
    return rows


def write(n_users: int, n_items: int, path: str) -> tuple[float, int, float]:
    """Returns the seconds, the MB by which the process's peak rose, and the MB of the file."""
    rng = np.random.default_rng(0)
    items = rng.integers(0, n_items, (n_users, N_SEEN), dtype=np.int32)
    items.sort(axis=1)
    seen_indptr = np.arange(n_users + 1) * N_SEEN
    ids = np.arange(n_users), np.arange(n_items)
    catalogue = Catalogue(*ids, None, seen_indptr, items.reshape(-1))
    of_users, of_items = (rng.standard_normal((n, DIM), np.float32) for n in (n_users, n_items))
    model = Recommender(Factors(of_users, of_items, np.zeros(n_items, np.float32)), catalogue)
    forget_peak()
    before, start = peak_megabytes(), time.perf_counter()
    assert sum(write_lists(model, Path(path), K)) == n_users
    return time.perf_counter() - start, peak_megabytes() - before, Path(path).stat().st_size / 1e6
