"""What a trial costs the coordinator where workers are processes of this machine, or tasks of Ray.

    python experiments/benchmarks/cluster.py --trials 200        # needs pip install -e ".[cluster]"

The trials are those of small made data, of four epochs each, so that little but the messages and
the weights is left of them. The processor time is that of this process alone, with all its threads.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil

from ncf.data.interactions import from_columns
from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.metrics import Objective
from ncf.protocol.seeds import Purpose, spawn
from ncf.protocol.splitting import leave_one_out
from ncf.trials.data import TrialData
from ncf.trials.estimate import Estimate
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import EpochReport, Outcome, Task
from ncf.trials.workers import Workers, run_tasks

_EPOCHS = 4
_SETTING = Hyperparameters(initialization="xavier", embedding_dim=64, n_negatives=1)


def _data(n_users: int = 1000, n_items: int = 500) -> TrialData:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(n_users), 20)
    items = np.concatenate([rng.choice(n_items, 20, replace=False) for _ in range(n_users)])
    data = from_columns("made", users, items, rng.integers(0, 1000, len(users)))
    split = leave_one_out(data)
    candidates = draw_candidates(
        split.whole.indptr, split.whole.items, split.whole.n_items,
        split.validation.users, split.validation.items, 50, seed=1,
    )  # fmt: skip
    return TrialData(split.train, split.validation, candidates)


@contextmanager
def _workers(kind: str, n_workers: int, data: TrialData, folder: Path) -> Iterator[Workers]:
    if kind == "local":
        data.save(folder)
        with LocalWorkers(n_workers, folder, n_workers) as processes:
            yield processes
        return
    from ncf.trials.ray_cluster import connected
    from ncf.trials.ray_workers import RayWorkers

    one = Estimate(1 << 20, 1 << 20, 0.0)
    with (
        connected("local", n_workers) as cluster,
        RayWorkers(cluster, n_workers, data, one) as tasks,
    ):
        yield tasks


def _task(number: int, folder: Path, epochs: int = _EPOCHS) -> Task:
    return Task(
        number, _SETTING, spawn(0, Purpose.TRIAL, number), epochs, epochs, Objective(), "cpu",
        (-math.inf,) * epochs, folder / f"{number}.safetensors",
    )  # fmt: skip


def _train(workers: Workers, n_trials: int, folder: Path) -> None:
    tasks = iter([_task(number, folder) for number in range(n_trials)])
    for event in run_tasks(workers, lambda: next(tasks, None)):
        if isinstance(event, Outcome):
            (folder / f"{event.number}.safetensors").unlink()


def _seconds_until_noticed(workers: Workers, folder: Path) -> float:
    """Returns the seconds from a worker's death until the coordinator is told of it."""
    workers.submit(_task(0, folder, epochs=1_000_000))
    while not any(isinstance(event, EpochReport) for event in workers.receive(1.0)):
        pass
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith("ray::train"):
                process.kill()
    begin = time.monotonic()
    while all(isinstance(event, EpochReport) for event in workers.receive(1.0)):
        pass
    return time.monotonic() - begin


def main() -> None:
    """Prints a line for each kind of workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    data = _data()
    for kind in ("local", "ray"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with _workers(kind, options.workers, data, folder) as workers:
                _train(workers, 2 * options.workers, folder)  # processes start, kernels load
                begin, used = time.monotonic(), time.process_time()
                _train(workers, options.trials, folder)
                used, wall = time.process_time() - used, time.monotonic() - begin
                told = ""
                if kind == "ray":
                    noticed = [_seconds_until_noticed(workers, folder) for _ in range(3)]
                    told = f"; a killed worker noticed after {max(noticed):.2f} s at most"
        print(
            f"{kind}: {1000 * used / options.trials:.1f} ms of the coordinator's processor per "
            f"trial, {options.trials / wall:.1f} trials/s{told}"
        )


if __name__ == "__main__":
    main()
