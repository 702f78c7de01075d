"""What each lever is worth: one hyperparameter at a time away from the defaults, several seeds.

    python experiments/benchmarks/ablation.py [EXPERIMENT.py] [--seeds 3] [--only NAME ...]

By default for the NCF paper's files (`experiments/ncf_ml_1m.py`). Judged on validation, as in a
search: the best epoch of each run, stopped by patience; test is never read. Prints a Markdown
table: the mean of nDCG@10 over seeds of training, its standard deviation, and the difference from
the defaults.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from measurement import ROOT

from ncf.models.table import Setting
from ncf.protocol.seeds import Purpose, spawn
from ncf.study.experiment_file import load_experiment
from ncf.study.plan import Plan, Settings, assemble
from ncf.study.source import Source
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import Failure, Outcome
from ncf.trials.workers import run_tasks

CHANGES: list[dict[str, Any]] = [
    {},
    {"n_recent": 0},
    {"n_recent": 1},
    {"n_recent": 3},
    {"n_recent": 20},
    {"recent_decay": 0.8},
    {"recent_decay": 2.0},
    {"recent_dim": 32},
    {"recent_dim": 64},
    {"recent_dim": 192},
    {"embedding_dim": 0},
    {"embedding_dim": 32},
    {"embedding_dim": 64},
    {"embedding_dim": 192},
    {"recency": 0.0},
    {"recency": 0.3},
    {"recency": 1.2},
    {"popular_negatives": 0.0},
    {"popular_negatives": 0.25},
    {"popular_negatives": 0.5},
    {"initialization": "xavier"},
    {"init_rms": 0.1},
    {"init_rms": 0.8},
    {"learn_output_weight": True},
    {"learn_item_bias": False},
    {"weight_decay": 0.003},
    {"weight_decay": 0.02},
    {"n_negatives": 4},
    {"n_negatives": 16},
    {"learning_rate": 0.01},
    {"learning_rate": 0.04},
    {"learning_rate_decay": 0.8},
    {"learning_rate_decay": 0.95},
    {"optimizer": "adam", "learning_rate": 2e-3, "weight_decay": 1e-6},
]


def main() -> None:
    """Trains every change with every seed on all cores and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", nargs="?", default=ROOT / "experiments" / "ncf_ml_1m.py")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", metavar="NAME", help="hyperparameters to change")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    experiment = load_experiment(Path(options.experiment))
    settings = Settings(n_trials=1, seed=0, device="cpu")
    plan = assemble(experiment.name, experiment, settings, Source(experiment.data))
    changes = [
        change
        for change in CHANGES
        if is_change(change, experiment.defaults)
        and (options.only is None or change.keys() <= {*options.only})
    ]
    with tempfile.TemporaryDirectory() as folder:
        outcomes = train(plan, changes, Path(folder), options.seeds, options.jobs)
    print(f"{experiment.name}, defaults {experiment.defaults}, {options.seeds} seeds each")
    print("| change | nDCG@10 | sd | difference | HR@10 | full nDCG@10 | best epoch | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    base = mean(outcomes[0], "ndcg_10")
    for change, trained in zip(changes, outcomes, strict=True):
        values = [outcome.metrics["ndcg_10"] for outcome in trained]
        what = ", ".join(f"{name} {value}" for name, value in change.items()) or "the defaults"
        full = statistics.mean(outcome.metrics_full["ndcg_10"] for outcome in trained)
        print(
            f"| {what} | {statistics.mean(values):.4f} | {statistics.stdev(values):.4f} "
            f"| {statistics.mean(values) - base:+.4f} | {mean(trained, 'hit_ratio_10'):.4f} "
            f"| {full:.4f} | {statistics.median(o.best_epoch for o in trained):.0f} "
            f"| {statistics.median(o.seconds for o in trained):.1f} |"
        )


def is_change(change: dict[str, Any], defaults: Setting) -> bool:
    """Returns whether a change changes anything; the empty one is the defaults' own row."""
    return not change or any(getattr(defaults, name) != value for name, value in change.items())


def train(
    plan: Plan, changes: list[dict[str, Any]], folder: Path, n_seeds: int, n_jobs: int
) -> list[list[Outcome]]:
    """Returns the outcomes of each change, one for each seed."""
    defaults, seed = plan.experiment.defaults, plan.settings.seed
    plan.trial_data.save(folder)
    tasks = (
        plan.task(
            number,
            replace(defaults, **changes[number // n_seeds]),
            spawn(seed, Purpose.CONFIRMATION, number % n_seeds),
        )
        for number in range(len(changes) * n_seeds)
    )
    outcomes: list[list[Outcome]] = [[] for _ in changes]
    with LocalWorkers(n_jobs, folder) as workers:
        for event in run_tasks(workers, lambda: next(tasks, None), what="training"):
            if isinstance(event, Failure):
                raise RuntimeError(event.reason)
            if isinstance(event, Outcome):
                outcomes[event.number // n_seeds].append(event)
    return outcomes


def mean(outcomes: list[Outcome], metric: str) -> float:
    """Returns the mean of a validation metric."""
    return statistics.mean(outcome.metrics[metric] for outcome in outcomes)


if __name__ == "__main__":
    main()
