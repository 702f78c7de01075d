"""What each lever is worth: one hyperparameter at a time away from the defaults, several seeds.

    python experiments/benchmarks/ablation.py [EXPERIMENT.py] [--seeds 3]

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

from ncf.protocol.seeds import Purpose, spawn
from ncf.search.contest import run_tasks, task_of_setting
from ncf.search.coordinator import Settings
from ncf.search.experiment_file import load_experiment
from ncf.search.plan import Prepared, assemble
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import Failure, Outcome

CHANGES: list[dict[str, Any]] = [
    {},
    {"recency": 0.0},
    {"recency": 0.5},
    {"recency": 1.5},
    {"popular_negatives": 0.1},
    {"popular_negatives": 0.25},
    {"popular_negatives": 0.5},
    {"initialization": "xavier"},
    {"init_rms": 0.1},
    {"init_rms": 0.8},
    {"learn_output_weight": True},
    {"learn_item_bias": False},
    {"weight_decay": 0.003},
    {"weight_decay": 0.03},
    {"n_negatives": 3},
    {"n_negatives": 16},
    {"embedding_dim": 32},
    {"embedding_dim": 64},
    {"embedding_dim": 192},
    {"learning_rate": 0.02},
    {"learning_rate_decay": 0.95},
    {"optimizer": "adam", "learning_rate": 2e-3, "weight_decay": 1e-6},
]


def main() -> None:
    """Trains every change with every seed on all cores and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", nargs="?", default=ROOT / "experiments" / "ncf_ml_1m.py")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    experiment = load_experiment(Path(options.experiment))
    settings = Settings(n_trials=1, seed=0, k=10, device="cpu", timeout=None)
    prepared = assemble(experiment.name, experiment, settings, None, None)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = train(prepared, Path(folder), options.seeds, options.jobs)
    print(f"{experiment.name}, defaults {experiment.defaults}, {options.seeds} seeds each")
    print("| change | nDCG@10 | sd | difference | HR@10 | full nDCG@10 | best epoch | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    base = mean(outcomes[0], "ndcg_10")
    for change, of_change in zip(CHANGES, outcomes, strict=True):
        values = [outcome.metrics["ndcg_10"] for outcome in of_change]
        what = ", ".join(f"{name} {value}" for name, value in change.items()) or "the defaults"
        full = statistics.mean(outcome.metrics_full["ndcg_10"] for outcome in of_change)
        print(
            f"| {what} | {statistics.mean(values):.4f} | {statistics.stdev(values):.4f} "
            f"| {statistics.mean(values) - base:+.4f} | {mean(of_change, 'hit_ratio_10'):.4f} "
            f"| {full:.4f} | {statistics.median(o.best_epoch for o in of_change):.0f} "
            f"| {statistics.median(o.seconds for o in of_change):.1f} |"
        )


def train(prepared: Prepared, folder: Path, n_seeds: int, n_jobs: int) -> list[list[Outcome]]:
    """Returns the outcomes of each change, one for each seed."""
    defaults, seed = prepared.experiment.defaults, prepared.settings.seed
    prepared.trial_data.save(folder)
    tasks = (
        task_of_setting(
            prepared,
            number,
            replace(defaults, **CHANGES[number // n_seeds]),
            spawn(seed, Purpose.CONFIRMATION, number % n_seeds),
            folder / f"{number}.safetensors",
        )
        for number in range(len(CHANGES) * n_seeds)
    )
    outcomes: list[list[Outcome]] = [[] for _ in CHANGES]
    with LocalWorkers(n_jobs, folder) as workers:
        for event in run_tasks(workers, lambda: next(tasks, None)):
            if isinstance(event, Failure):
                raise RuntimeError(event.reason)
            outcomes[event.number // n_seeds].append(event)
            (folder / f"{event.number}.safetensors").unlink()
    return outcomes


def mean(outcomes: list[Outcome], metric: str) -> float:
    """Returns the mean of a validation metric."""
    return statistics.mean(outcome.metrics[metric] for outcome in outcomes)


if __name__ == "__main__":
    main()
