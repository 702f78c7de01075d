"""What one coordinator does for 8, 100 and 1,000 workers, with trials that only take time.

`python experiments/benchmarks/many_workers.py` runs the real coordinator, its proposals and its
journal on workers that train nothing: a trial takes a time that is lognormal (sd of the logarithm
0.6, as measured of real trials on ml-100k) and reports five epochs. In virtual time, which is the
default, nothing is waited for: the share of the time in which the workers are busy does not depend
on this machine, and the processor's time of a trial is the coordinator's own. With `--sleep` the
trials take real time, and trials per second are what comes out.
"""

from __future__ import annotations

import argparse
import heapq
import math
import os
import resource
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.trial import TrialState

from ncf.models.gmf.setting import Hyperparameters
from ncf.study import journal
from ncf.study.coordinator import Coordinator, Space
from ncf.study.experiment import Experiment
from ncf.study.experiment_file import load_experiment
from ncf.study.plan import Plan, Settings
from ncf.study.source import Source
from ncf.study.storage import open_storage
from ncf.trials.messages import EpochReport, Outcome, Refit, Task

SIGMA = 0.6  # sd of the logarithm of a trial's seconds
N_REPORTS = 5
Event = EpochReport | Outcome
NOTHING = np.zeros((0, 2), np.int32)


@dataclass
class Idlers:
    """Workers that train nothing, in virtual time or asleep.

    Attributes:
        n_workers: How many there are.
        mean: The mean seconds of a trial.
        is_asleep: Whether the seconds are real.
        now: The time; where it is virtual, that of the last event.
        busy: Seconds of all workers in which they had a trial.
        events: What will happen, by time.
        n_running: The trials that have not ended.
    """

    n_workers: int
    mean: float
    is_asleep: bool
    now: float = 0.0
    busy: float = 0.0
    events: list[tuple[float, int, int, Event]] = field(default_factory=list)
    n_running: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def n_idle(self) -> int:
        """The number of workers without a trial."""
        return self.n_workers - self.n_running

    def submit(self, task: Task | Refit) -> None:
        """Begins a trial."""
        if self.is_asleep:
            self.now = time.monotonic() - self.begun
        rng = np.random.default_rng(task.seed)
        seconds = self.mean * float(rng.lognormal(-(SIGMA**2) / 2, SIGMA))
        top = quality(cast(Hyperparameters, task.setting)) + 0.002 * float(rng.standard_normal())
        metrics = {"ndcg_10": top, "hit_ratio_10": top, "mrr_10": top}
        self.n_running += 1
        self.busy += seconds
        number = task.number
        for epoch in range(1, N_REPORTS + 1):
            at = self.now + seconds * (epoch / N_REPORTS)
            report = EpochReport(number, epoch, at, 0.5, seconds / N_REPORTS, 100, metrics)
            heapq.heappush(self.events, (at, number, epoch, report))
        end = self.now + seconds
        outcome = Outcome(number, False, N_REPORTS, N_REPORTS, metrics, metrics, seconds, end)
        heapq.heappush(self.events, (end, number, N_REPORTS + 1, outcome))

    def receive(self, timeout: float | None = None) -> list[Any]:
        """Returns what has happened since, or what happens next."""
        if self.is_asleep:
            pause = self.events[0][0] - (time.monotonic() - self.begun)
            time.sleep(max(0.0, min(pause, timeout or 0.0)))
            self.now = time.monotonic() - self.begun
        else:
            self.now = self.events[0][0]
        happened = []
        while self.events and self.events[0][0] <= self.now:
            event = heapq.heappop(self.events)[3]
            self.n_running -= isinstance(event, Outcome)
            happened.append(event)
        return happened


def quality(setting: Hyperparameters) -> float:
    """Returns a value with one best setting, for TPE to find."""
    rate = math.log10(setting.learning_rate / 0.02)
    decay = math.log10(setting.weight_decay / 0.008)
    return 0.55 - 0.05 * rate**2 - 0.02 * decay**2 - 0.01 * (setting.recency - 0.6) ** 2


def plan_of(experiment: Experiment, n_trials: int, lag: int) -> Plan:
    """Returns a plan without data."""
    settings = Settings(n_trials, seed=0, lag=lag, full_users=None)
    missing = cast(Any, None)
    return Plan(
        "idle", experiment, settings, Source("idle"), missing, missing, "", NOTHING, NOTHING
    )


def memory() -> float:
    """Returns the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Runs one study and prints a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--lag", type=int, default=16)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--mean", type=float, default=1.0, help="mean seconds of a trial")
    parser.add_argument("--sleep", action="store_true", help="the seconds are real")
    parser.add_argument("--folder", help="where the journal is made (default: the system's)")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    experiment = load_experiment(Path("experiments/ml_100k.py"))
    experiment = replace(experiment, epochs=N_REPORTS)
    plan = plan_of(experiment, options.trials, options.lag)
    space = Space(
        "trial", experiment.defaults, experiment.search_space, 0, options.trials, prune=True
    )
    n_syncs = 0
    sync = os.fsync

    def counted(descriptor: Any) -> None:
        nonlocal n_syncs
        n_syncs += 1
        sync(descriptor)

    os.fsync = counted  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        study = journal.open_study(open_storage(f"{folder}/journal"), "idle", {})
        before = memory()
        idlers = Idlers(options.workers, options.mean, options.sleep)
        wall, processor = time.monotonic(), time.process_time()
        for _ in Coordinator(study, space, plan).run(idlers):
            pass
        wall, processor = time.monotonic() - wall, time.process_time() - processor
        trials = study.get_trials(deepcopy=False)
        assert all(trial.state == TrialState.COMPLETE for trial in trials)
    n = options.trials
    share = idlers.busy / (options.workers * idlers.now)
    print(
        f"{options.workers} workers, lag {options.lag}, {n} trials: "
        f"{share * options.workers:.1f} busy ({share:.0%}), {n / wall:.0f} trials/s, "
        f"{1000 * processor / n:.1f} ms of processor and {n_syncs / n:.1f} fsyncs per trial, "
        f"{memory() - before:.0f} MB more than the {before:.0f} at the start"
    )


if __name__ == "__main__":
    main()
