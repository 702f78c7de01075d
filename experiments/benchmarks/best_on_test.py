"""What it is worth to keep the epoch that is best on test, as published NCF codes do. Never do it.

    python experiments/benchmarks/best_on_test.py [EXPERIMENT.py] [--epochs 100] [--seed 0]

By default for the paper's GMF-8 (`experiments/ncf_ml_1m_gmf8.py`). Fits the experiment's defaults
on train and validation, as a search fits its winner, and prints what each epoch gives on test. The
maximum is what such a code would publish: it says how a published figure of that kind compares,
and nothing here is chosen by it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import optuna
import torch
from measurement import ROOT

from ncf.models.table import fit
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import sampled_ranks
from ncf.protocol.seeds import Purpose, spawn
from ncf.study.experiment_file import load_experiment
from ncf.study.plan import Settings, assemble
from ncf.study.source import Source


def main() -> None:
    """Prints a line after every epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / "experiments" / "ncf_ml_1m_gmf8.py"
    parser.add_argument("experiment", nargs="?", default=default, type=Path)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)  # as in a search
    experiment = load_experiment(options.experiment)
    settings = Settings(n_trials=1, seed=options.seed, device="cpu")
    plan = assemble(experiment.name, experiment, settings, Source(experiment.data))
    best = 0.0
    for result in fit(
        plan.split.train_and_validation,
        experiment.defaults,
        epochs=options.epochs,
        seed=spawn(options.seed, Purpose.REFIT, 0),
    ):
        ranks = sampled_ranks(result.scorer, plan.split.test.users, plan.test_candidates)
        metrics = summarize(ranks, settings.objective.k)
        best = max(best, metrics["ndcg_10"])
        print(
            f"epoch {result.epoch}: HR@10 {metrics['hit_ratio_10']:.4f}, nDCG@10 "
            f"{metrics['ndcg_10']:.4f}; best so far {best:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
