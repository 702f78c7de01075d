"""Parts `scale` and `scale100m`: from a large CSV file to a trained trial, each step by itself.

Each step is a fresh process, as in a search: reading, a second start from the prepared data,
splitting, and a whole trial of two epochs, started from the SVD, on one thread. Beside the seconds
of a clock stand those of the processor, which count on a machine that does other work too.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from generate import PRESETS, Size, write_ratings
from measurement import Row, Setup, in_fresh_process

from ncf.trials.start import one_thread

SMALL = Size(14_000, 6_000, 1_400_000)  # in a quick run


def measure(setup: Setup) -> list[Row]:
    """Returns the rows of 27.7 million ratings."""
    return _measure(setup, "scale", "latest", {"read": 2, "trial": 2})


def measure_100m(setup: Setup) -> list[Row]:
    """Returns the rows of 100 million ratings."""
    return _measure(setup, "scale100m", "100m", {"read": 8, "trial": 4})


def generated(setup: Setup, preset: str) -> tuple[str, Path]:
    """Returns what to call the generated ratings and their file, made where it is not there."""
    size = SMALL if setup.quick else PRESETS[preset]
    path = setup.csv if setup.csv and preset == "latest" else setup.folder / f"{preset}.csv"
    if not path.exists():
        write_ratings(path, size, seed=1)
    return f"{size.n_interactions / 1e6:.1f} M generated", path


def read(csv: str) -> float:
    """Returns the seconds from the file, or its prepared data, to `Interactions`."""
    from ncf.data.datasets import load_interactions

    start = time.perf_counter()
    load_interactions(csv)
    return time.perf_counter() - start


def split(csv: str, folder: Path) -> tuple[float, float]:
    """Returns the seconds from prepared data to what trials are handed, saved in `folder`.

    The second number is those of the processor.
    """
    from ncf.data.datasets import load_interactions
    from ncf.protocol.candidates import draw_candidates
    from ncf.protocol.splitting import leave_one_out
    from ncf.trials.data import TrialData

    start, processor_start = time.perf_counter(), time.process_time()
    parts = leave_one_out(load_interactions(csv))
    train = parts.train
    validation, _ = (  # those of test are drawn too, before a search begins
        draw_candidates(
            train.indptr, train.items, train.n_items, one.users, one.items, 100, 1, parts.held_out
        )
        for one in (parts.validation, parts.test)
    )
    folder.mkdir(exist_ok=True)
    TrialData(train, parts.validation, validation).save(folder)
    return time.perf_counter() - start, time.process_time() - processor_start


def train(folder: Path) -> dict[str, Any]:
    """Runs a trial of two epochs and returns its seconds and sizes."""
    from ncf.models.gmf.setting import Hyperparameters
    from ncf.models.table import compile_kernels
    from ncf.protocol.metrics import Objective
    from ncf.protocol.ranks import MOST_USERS, Sample
    from ncf.trials import trial
    from ncf.trials.data import TrialData
    from ncf.trials.messages import EpochReport, Task

    setting = Hyperparameters(embedding_dim=32, n_negatives=4)
    data = TrialData.load(folder)
    no_floor = (-1.0, -1.0)
    weights = folder / "weights.safetensors"
    seed, sample = np.random.SeedSequence(1), Sample(MOST_USERS, seed=1)
    task = Task(0, setting, seed, 2, 2, Objective(), "cpu", no_floor, weights, sample=sample)
    compile_kernels()  # as workers do before their first trial
    start, processor = time.time(), [time.process_time()]
    reports = []
    for event in trial.run(task, data):
        processor.append(time.process_time())
        if isinstance(event, EpochReport):
            reports.append(event)
    stop = time.time()
    return {
        "seconds": stop - start,
        "processor_seconds": processor[-1] - processor[0],
        "processor_seconds_of_parts": np.diff(processor).tolist(),  # each epoch, and the end
        "start": reports[0].time - start - reports[0].seconds,
        "end": stop - reports[-1].time,
        "epochs": [report.seconds for report in reports],
        "n_samples": reports[0].n_samples,
        "ndcg": [report.metrics["ndcg_10"] for report in reports],
        "sizes": (data.train.n_users, data.train.n_items),
    }


def _measure(setup: Setup, part: str, preset: str, gigabytes: dict[str, int]) -> list[Row]:
    from kernel import memory_limit  # here, so that the processes that read do not load it

    from ncf.models.gmf.setting import Hyperparameters

    name, csv = generated(setup, preset)
    prepared = Path(os.environ["NCF_CACHE_HOME"]) / "prepared"
    folder = setup.folder / f"{preset}-trial"

    first, again = [], []
    for _ in range(1 if setup.quick or part == "scale100m" else 3):
        shutil.rmtree(prepared, ignore_errors=True)
        first.append(in_fresh_process(read, str(csv)))
        again.append(in_fresh_process(read, str(csv)))
    (split_seconds, split_processor), split_peak = in_fresh_process(split, str(csv), folder)
    with one_thread():
        trained, trial_peak = in_fresh_process(train, folder)
    n_users, n_items = trained["sizes"]
    limit, _ = memory_limit(n_users, n_items, Hyperparameters(embedding_dim=32, n_negatives=4))
    epoch = statistics.median(trained["epochs"])
    rate = trained["n_samples"] / epoch

    def seconds_row(what: str, value: float, goal: float | None = None) -> Row:
        limit = "" if goal is None or part == "scale100m" else f"< {goal:g} s"
        return Row(part, f"{what}, {name}", value, "s", goal=limit)

    def peak_row(what: str, value: float, goal: int | None = None) -> Row:
        limit = "" if goal is None else f"< {goal} GB"
        return Row(part, f"peak memory, {what}", value / 1e3, "GB", goal=limit)

    read_seconds = statistics.median(seconds for seconds, _ in first)
    return [
        seconds_row("CSV to prepared arrays", read_seconds, 30),
        peak_row("CSV to prepared arrays", max(peak for _, peak in first), gigabytes["read"]),
        seconds_row("second start", statistics.median(seconds for seconds, _ in again)),
        seconds_row("split and candidates", split_seconds),
        seconds_row("split and candidates, processor", split_processor),
        peak_row("split and candidates", split_peak, gigabytes["read"]),
        seconds_row("one sgd epoch, dim 32, N 4, 1 thread", epoch, 40),
        Row(part, "the same epoch, samples", rate / 1e6, "M samples/s",
            f"memory's limit, {limit / 1e6:.1f}", rate / limit, details=trained),
        seconds_row("whole trial of 2 epochs", trained["seconds"]),
        seconds_row("whole trial of 2 epochs, processor", trained["processor_seconds"]),
        seconds_row("its start from the SVD, and first evaluation", trained["start"]),
        seconds_row("its end, the full ranking of 20,000 users", trained["end"]),
        peak_row("whole trial", trial_peak, gigabytes["trial"]),
    ]  # fmt: skip
