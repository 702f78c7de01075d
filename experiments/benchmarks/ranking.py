"""Part `ranking`: the held-out item of every user among the whole catalogue, on all cores."""

from __future__ import annotations

import os
import statistics
import time

import torch
from measurement import Row, Setup, forget_peak, in_fresh_process, peak_megabytes
from scale import generated

from ncf.data.datasets import load_interactions
from ncf.models.gmf.module import GMF
from ncf.protocol.ranks import full_ranks
from ncf.protocol.splitting import leave_one_out

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
    torch.set_num_threads(n_threads)
    split = leave_one_out(load_interactions(data))
    model = GMF(split.train.n_users, split.train.n_items, DIM)
    generator = torch.Generator().manual_seed(1)
    for embedding in (model.user_embedding, model.item_embedding):
        torch.nn.init.xavier_uniform_(embedding.weight, generator=generator)
    forget_peak()
    before = peak_megabytes()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        full_ranks(model, split.validation, split.train)
        seconds.append(time.perf_counter() - start)
    return seconds, peak_megabytes() - before
