"""Parts `jobs` and `budget`: whole searches, run as a person runs them, in folders of their own.

Rates are taken between the ends of trials in the study's journal, from the second on, so that
start-up is no part of them; the end is, when one worker has no more to do. The cost of tracking is
found by training the same trials again, for the same numbers of epochs, in the same workers, with
neither Optuna nor MLflow.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
from measurement import ROOT, Row, Setup, in_fresh_process
from optuna.trial import FrozenTrial

from ncf.data.datasets import load_interactions
from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.metrics import Objective
from ncf.protocol.seeds import Purpose, spawn, spawn_int
from ncf.protocol.splitting import leave_one_out
from ncf.study import journal
from ncf.study.storage import open_storage
from ncf.trials.data import TrialData
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import Failure, Outcome, Task
from ncf.trials.workers import run_tasks

EXPERIMENTS = {"ml-100k": "ml_100k.py", "ml-1m": "ml_1m.py", "ncf-ml-1m": "ncf_ml_1m.py"}
NOT_YET = 2  # trials whose ends are not counted: the workers may still be starting


@dataclass(frozen=True)
class Search:
    """What a search came to.

    Attributes:
        start: When the command began, in seconds since 1970.
        stop: When it ended.
        processor_seconds: What it and its workers used of the processors.
        coordinator_seconds: What the coordinator used of them by each end of a trial.
        trials: Its trained trials, by number.
        ends: When they ended.
    """

    start: float
    stop: float
    processor_seconds: float
    coordinator_seconds: list[float]
    trials: list[FrozenTrial]
    ends: list[float]

    @property
    def begun(self) -> float:
        """When the first trial began."""
        return min(t.datetime_start.timestamp() for t in self.trials if t.datetime_start)

    @property
    def rate(self) -> float:
        """Trials per second, start-up and the end of the command left out."""
        return _rate(self.ends)


def measure_jobs(setup: Setup) -> list[Row]:
    """Returns the rows of two jobs beside one: the same trials, in half of the time."""
    rows = []
    n_trials = 6 if setup.quick else 50
    for data, n_times in (("ml-100k", 5), ("ml-1m", 1)):
        pairs = [  # by turns, and several times where a run is short: the machine's speed changes
            (
                search(setup, data, n_trials, "--jobs", "1"),
                search(setup, data, n_trials, "--jobs", "2"),
            )
            for _ in range(1 if setup.quick else n_times)
        ]
        ratios = [two.rate / one.rate for one, two in pairs]
        one_job = statistics.median(3600 * one.rate for one, _ in pairs)
        two_jobs = statistics.median(3600 * two.rate for _, two in pairs)
        what = f"{data}, --jobs 2, {n_trials} trials"
        rows.append(
            Row("jobs", what, two_jobs, "trials/h", f"--jobs 1, {one_job:.0f}",
                statistics.median(ratios), ">= 1.8 times", {"ratios": ratios})
        )  # fmt: skip
        same = all(
            set(map(_outcome, one.trials)) == set(map(_outcome, two.trials)) for one, two in pairs
        )
        rows.append(Row("jobs", f"{data}, same trials and values", float(same), "1 = yes"))
        if setup.quick:
            break
    return rows


def measure_budget(setup: Setup) -> list[Row]:
    """Returns the rows of 50 trials on ml-100k, medians of three times."""
    return _budget(setup, "budget", "ml-100k", 1 if setup.quick else 3, 45, "< 10 %")


def measure_budget_1m(setup: Setup) -> list[Row]:
    """Returns the rows of 50 trials on ml-1m."""
    return _budget(setup, "budget1m", "ml-1m", 1, 480, "< 1 %")


def _budget(
    setup: Setup, part: str, data: str, n_times: int, goal: int, tracking_goal: str
) -> list[Row]:
    n_trials, n_jobs = 6 if setup.quick else 50, os.cpu_count() or 1
    searches, rates, trainings = [], [], []
    for _ in range(n_times):  # by turns: the machine's speed changes
        searches.append(search(setup, data, n_trials))
        (ends, training), _ = in_fresh_process(replay, data, _tasks(searches[-1]), n_jobs)
        rates.append(_rate(ends))
        trainings.append(training)

    def median(of: Callable[[Search], float]) -> float:
        return statistics.median(map(of, searches))

    def coordinator(one: Search) -> float:
        used = one.coordinator_seconds[-1] - one.coordinator_seconds[NOT_YET - 1]
        return used / (one.ends[-1] - one.ends[NOT_YET - 1]) / n_jobs

    lost = statistics.median(1 - one.rate / rate for one, rate in zip(searches, rates, strict=True))
    wall, used = median(lambda one: one.stop - one.start), median(lambda o: o.processor_seconds)
    training = statistics.median(trainings)
    without = f"the same without, {3600 * statistics.median(rates):.0f} trials/h"
    outcomes = [journal.outcome_of(trial) for trial in searches[-1].trials]
    details = {
        "trial_seconds": [outcome.seconds for outcome in outcomes],
        "ends": [[end - one.start for end in one.ends] for one in searches],
        "rates": [3600 * one.rate for one in searches],
        "rates_without": [3600 * rate for rate in rates],
    }
    return [
        Row(part, f"{data}, {n_trials} trials, {n_jobs} cores", wall, "s", f"{goal} s",
            wall / goal, f"< {goal} s", details),
        Row(part, "until the first trial begins", median(lambda o: o.begun - o.start), "s"),
        Row(part, "from the end of the last trial", median(lambda o: o.stop - o.ends[-1]), "s"),
        Row(part, "time lost to Optuna and MLflow between", 100 * lost, "%", without, None,
            tracking_goal),
        Row(part, "the coordinator's share of the processors between",
            100 * median(coordinator), "%"),
        Row(part, "processor time of all", used, "s", f"the workers alone, {training:.1f}",
            used / training),
        Row(part, "epochs per trial", statistics.mean(outcome.epochs for outcome in outcomes),
            "epochs"),
    ]  # fmt: skip


def search(setup: Setup, data: str, n_trials: int, *options: str) -> Search:
    """Runs `search.py`, without confirmation and baselines, in an empty folder.

    Raises:
        RuntimeError: It failed.
    """
    folder = tempfile.mkdtemp(dir=setup.folder, prefix=f"{data}-")
    experiment = ROOT / "experiments" / EXPERIMENTS[data]
    command = [sys.executable, str(ROOT / "search.py"), "--experiment", str(experiment)]
    own = {"MLFLOW_TRACKING_URI", "OMP_NUM_THREADS"}
    start, before = time.time(), _children_seconds()
    process = subprocess.Popen(
        [*command, "--trials", str(n_trials), "--confirm", "0", "--baselines", "none", *options],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    times, coordinator_seconds = [start], [0.0]
    while process.poll() is None:
        used = psutil.Process(process.pid).cpu_times()
        times.append(time.time())
        coordinator_seconds.append(used.user + used.system)
        time.sleep(0.5)
    _, errors = process.communicate()
    stop, processor_seconds = time.time(), _children_seconds() - before
    if process.returncode != 0:
        raise RuntimeError(f"search.py failed:\n{errors[-2000:]}")
    storage = open_storage(str(Path(folder) / "mlruns" / "optuna.journal"))
    trials = optuna.load_study(study_name=data, storage=storage).trials
    trained = [trial for trial in trials if journal.is_trained(trial)]
    ends = sorted(t.datetime_complete.timestamp() for t in trained if t.datetime_complete)
    by_end = np.interp(ends, times, coordinator_seconds).tolist()
    return Search(start, stop, processor_seconds, by_end, trained, ends)


def replay(data: str, tasks: list[Task], n_jobs: int) -> tuple[list[float], float]:
    """Trains the tasks in workers; returns when each ended, and the workers' processor seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split = leave_one_out(load_interactions(data))
        whole, held_out = split.whole, split.validation
        seed = spawn_int(0, Purpose.VALIDATION_CANDIDATES)
        candidates = draw_candidates(
            whole.indptr, whole.items, whole.n_items, held_out.users, held_out.items, 100, seed
        )
        TrialData(split.train, held_out, candidates).save(folder)
        waiting = iter(tasks)
        ends: list[float] = []
        with LocalWorkers(n_jobs, folder, n_jobs) as workers:
            for event in run_tasks(workers, lambda: next(waiting, None)):
                if isinstance(event, Failure):
                    raise RuntimeError(event.reason)
                if isinstance(event, Outcome):
                    ends.append(time.time())
        for task in tasks:
            if task.weights is not None:
                task.weights.unlink()
    return ends, _children_seconds()


def _tasks(found: Search) -> list[Task]:
    """Returns tasks that train as the trials did, in the order in which they began."""
    folder = Path(tempfile.mkdtemp())
    tasks, objective = [], Objective()
    for trial in found.trials:
        setting = Hyperparameters(**trial.user_attrs["hyperparameters"])
        epochs = journal.outcome_of(trial).epochs
        weights = folder / f"{trial.number}.safetensors"
        no_floor = (-1.0,) * epochs
        seed = spawn(0, Purpose.TRIAL, trial.number)
        tasks.append(
            Task(trial.number, setting, seed, epochs, epochs, objective, "auto", no_floor, weights)
        )
    return tasks


def _children_seconds() -> float:
    """Returns the processor time of the processes that this one started, and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rate(ends: list[float]) -> float:
    return (len(ends) - NOT_YET) / (ends[-1] - ends[NOT_YET - 1])


def _outcome(trial: FrozenTrial) -> tuple[Any, ...]:
    outcome = journal.outcome_of(trial)
    return trial.number, outcome.epochs, outcome.metrics["ndcg_10"]
