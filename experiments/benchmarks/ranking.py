"""Part `ranking`: the held-out item of every user among the whole catalogue, on all cores."""

from __future__ import annotations

import os
import statistics
import time

import numpy as np
from measurement import Row, Setup, forget_peak, in_fresh_process, peak_megabytes
from scale import generated
from threadpoolctl import threadpool_limits

from ncf.data.datasets import load_interactions
from ncf.protocol.ranks import full_ranks
from ncf.protocol.splitting import leave_one_out
from ncf.serving.factors import Factors

DIM = 64


def measure(setup: Setup) -> list[Row]:
    """Returns the rows of the part."""
    rows = []
    large, csv = generated(setup, "latest")
    cases = (("ml-1m", "ml-1m", 0.5, 7), (large, str(csv), 60.0, 1))
    for name, data, goal, repeats in cases:
        for n_threads in sorted({1, os.cpu_count() or 1}):
            (seconds, growth), _ = in_fresh_process(rank, data, n_threads, repeats)
            what = f"all users, {name}, dim {DIM}, {n_threads} thread{'s' * (n_threads > 1)}"
            value = statistics.median(seconds)
            against = f"{goal:g} s"
            rows.append(Row("ranking", what, value, "s", against, value / goal, f"< {goal:g} s"))
            rows.append(Row("ranking", f"memory added, {name}, {n_threads}", growth, "MB"))
    return rows


def rank(data: str, n_threads: int, repeats: int) -> tuple[list[float], int]:
    """Returns the seconds of each repeat and the MB by which the process's peak rose."""
    split = leave_one_out(load_interactions(data))
    n_users, n_items = split.train.n_users, split.train.n_items
    rng = np.random.default_rng(1)
    users, items = (rng.standard_normal((n, DIM), np.float32) for n in (n_users, n_items))
    model = Factors(users, items, np.zeros(n_items, np.float32))
    forget_peak()
    before = peak_megabytes()
    seconds = []
    with threadpool_limits(n_threads, "blas"):
        for _ in range(repeats):
            start = time.perf_counter()
            full_ranks(model, split.validation, split.train)
            seconds.append(time.perf_counter() - start)
    return seconds, peak_megabytes() - before
