"""Part `kernel`: samples per second of "sgd", beside its peers and the memory's limit.

A sample of the kernel reads and writes an item's row, and a (1 + N)-th of a user's. The limit is
what one core can do of just that: rows of the same tables, in the same random order, each read,
multiplied by a number and written back, with the next ones requested ahead.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from measurement import Row, Setup, run_peer
from numba import njit
from numpy.typing import NDArray

from ncf.data.datasets import load_interactions
from ncf.data.movielens import ratings_file
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.prefetch import prefetch
from ncf.models.table import fit
from ncf.protocol.splitting import leave_one_out
from ncf.trials.start import one_thread

Epochs = list[tuple[float, float]]  # of each: when it ended, and its samples per second
AHEAD = 8


def measure(setup: Setup) -> list[Row]:
    """Returns the rows of the part."""
    seconds = 1.0 if setup.quick else 8.0
    setting = Hyperparameters(embedding_dim=32, n_negatives=4)
    one, two = (_workers("ml-100k", setting, n_workers, seconds) for n_workers in (1, 2))
    small = load_interactions("ml-100k")
    limit, n_bytes = memory_limit(small.n_users, small.n_items, setting)
    what = "ml-100k, dim 32, N 4, {} of 1 thread"
    against = "memory's limit"
    rows = [
        _row(what.format("1 worker"), one, against, limit, ">= 10 M samples/s"),
        _row(what.format("2 workers"), two, "1 worker", sum(one)),
        Row("kernel", "memory's limit, bytes per sample", n_bytes, "B"),
        Row("kernel", "memory's limit, rows read and written", limit * n_bytes / 1e9, "GB/s"),
    ]
    columns, block = (
        sum(_workers("ml-100k", of_columns, 1, seconds))
        for of_columns in (
            Hyperparameters(embedding_dim=64, n_negatives=8),
            Hyperparameters(embedding_dim=32, n_negatives=8, recent_dim=32, n_recent=8),
        )
    )
    what, against_64 = (
        "sgd, ml-100k, dim 32 + 32 of the last 8, N 8",
        f"dim 64, {columns / 1e6:.3g}",
    )
    ratio = block / columns
    rows.append(Row("kernel", what, block / 1e6, "M samples/s", against_64, ratio, ">= 0.5"))
    for dim in (64,) if setup.quick else (64, 128):
        larger = Hyperparameters(embedding_dim=dim, n_negatives=8)
        rates = _workers("ml-1m", larger, 1, seconds)
        large = load_interactions("ml-1m")
        limit, _ = memory_limit(large.n_users, large.n_items, larger)
        rows.append(_row(f"ml-1m, dim {dim}, N 8, 1 worker", rates, against, limit))
    u_data = str(ratings_file("ml-100k"))
    for peer, argument, goal in (
        ("recbole", "1024", ">= 20 times"),
        ("recbole", "8192", ">= 20 times"),
        ("cornac", u_data, ">= 200 times"),
    ):
        with one_thread():  # faster than two for both, where the cores are shared
            result = run_peer(setup, peer, argument)
        if result is None:
            print(f"kernel: {peer} is skipped, as --{peer}-python is not given")
            continue
        name = f"{peer} {result['version']}" + (
            f" at batch {argument}" if peer == "recbole" else ""
        )
        rows.append(_row(what.format("2 workers"), two, name, result["samples_per_second"], goal))
    return rows


def row_rate(n_rows: int, dim: int) -> float:
    """Returns random rows (D,) per second that one core reads and writes in a table of n_rows."""
    rng = np.random.default_rng(1)
    table = rng.random(n_rows * dim, dtype=np.float32)
    order = rng.integers(0, n_rows, 4_000_000, dtype=np.int32)
    seconds = []
    for _ in range(6):  # the first compiles
        start = time.perf_counter()
        _touch(table, dim, order, np.float32(0.999999))
        seconds.append(time.perf_counter() - start)
    return len(order) / statistics.median(seconds[1:])


def memory_limit(n_users: int, n_items: int, setting: Hyperparameters) -> tuple[float, float]:
    """Returns samples per second that the rows alone would allow, and the bytes of a sample."""
    dim, group = setting.embedding_dim, 1 + setting.n_negatives
    seconds = 1 / row_rate(n_items, dim) + 1 / row_rate(n_users, dim) / group
    n_bytes = 2 * 4 * dim * (1 + 1 / group) + 8 + 4  # rows, the item's bias, the drawn item
    return 1 / seconds, n_bytes


def epochs_until(data: str, setting: Hyperparameters, seconds: float) -> Epochs:
    """Trains for at least `seconds`, in this process."""
    history = leave_one_out(load_interactions(data)).train
    epochs: Epochs = []
    stop_at = None
    seed = np.random.SeedSequence(1)
    for result in fit(history, setting, epochs=100_000, seed=seed):
        if result.epoch > 1:  # the first one loads the kernel
            epochs.append((time.monotonic(), result.n_samples / result.seconds))
        stop_at = stop_at or time.monotonic() + seconds
        if time.monotonic() > stop_at and len(epochs) >= 3:
            break
    return epochs


def _workers(data: str, setting: Hyperparameters, n_workers: int, seconds: float) -> list[float]:
    """Returns each worker's median rate over the time in which all of them train."""
    context = multiprocessing.get_context("spawn")
    with one_thread(), ProcessPoolExecutor(n_workers, mp_context=context) as pool:
        args = [[value] * n_workers for value in (data, setting, seconds)]
        runs = list(pool.map(epochs_until, *args))
    start, stop = max(run[0][0] for run in runs), min(run[-1][0] for run in runs)
    together = [[rate for end, rate in run if start <= end <= stop] for run in runs]
    if not all(together):
        raise RuntimeError("the workers did not train at the same time: run it again")
    return [statistics.median(rates) for rates in together]


def _row(
    what: str, workers: list[float], reference: str, reference_rate: float, goal: str = ""
) -> Row:
    rate = sum(workers)
    return Row(
        "kernel",
        f"sgd, {what}",
        rate / 1e6,
        "M samples/s",
        f"{reference}, {reference_rate / 1e6:.3g}",
        rate / reference_rate,
        goal,
        {"workers": workers},
    )


def _touch_rows(table: NDArray[Any], dim: int, order: NDArray[Any], factor: Any) -> None:
    for k in range(len(order)):
        if k + AHEAD < len(order):
            for d in range(0, dim, 16):
                prefetch(table, np.int64(order[k + AHEAD]) * dim + d)
        first = np.int64(order[k]) * dim
        for d in range(first, first + dim):
            table[d] *= factor


_touch: Any = njit(_touch_rows, cache=True)
