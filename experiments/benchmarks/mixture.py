"""What Markov counts add to GMF on validation, by their weight: `python .../mixture.py DATA`.

For each of a few seeds GMF is trained with the defaults of the experiment on train, and its best
epoch is mixed with counts that a random search has chosen with the first seed. Test is not read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna

from ncf.models import markov
from ncf.models.markov import MarkovHyperparameters
from ncf.models.table import fit
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import full_ranks, sampled_ranks
from ncf.serving.mixture import Mixture
from ncf.serving.scorers import Scorer, load_scorer
from ncf.study.experiment_file import load_experiment
from ncf.study.plan import Plan, Settings, assemble
from ncf.study.source import Source

EXPERIMENT = Path(__file__).parents[1] / "ml_100k.py"
WEIGHTS = (0.0, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


def judge(scorer: Scorer, plan: Plan) -> tuple[float, float]:
    """Returns nDCG@10 on the validation candidates and over the full catalogue."""
    data = plan.trial_data
    users = data.validation.users
    sampled = sampled_ranks(scorer, users, data.candidates)
    full = full_ranks(scorer, data.validation, data.seen)
    return summarize(sampled, 10, users)["ndcg_10"], summarize(full, 10, users)["ndcg_10"]


def fitted(plan: Plan, seed: int, epochs: int) -> Scorer:
    """Returns GMF after the epoch that is the best on validation."""
    setting, seeds = plan.experiment.defaults, np.random.SeedSequence(seed)
    best, kept = -1.0, {}
    for epoch in fit(plan.split.train, setting, epochs=epochs, seed=seeds):
        value, _ = judge(epoch.scorer, plan)
        if value > best:
            best = value
            kept = {name: array.copy() for name, array in epoch.scorer.arrays().items()}
    return load_scorer(kept)


def counts(plan: Plan, setting: MarkovHyperparameters) -> Scorer:
    """Returns the counts of train."""
    seeds = np.random.SeedSequence(0)
    (epoch,) = fit(plan.split.train, setting, epochs=1, seed=seeds)
    return epoch.scorer


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the means over seeds by the weight of the counts."""
    parser = argparse.ArgumentParser(description="What Markov counts add to GMF, on validation.")
    parser.add_argument("data", nargs="?", default="ml-100k", help="name or path of the data")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of GMF (default: 3)")
    parser.add_argument("--epochs", type=int, default=16, help="most epochs (default: 16)")
    parser.add_argument("--settings", type=int, default=40, help="of the counts (default: 40)")
    options = parser.parse_args(arguments)
    experiment = load_experiment(EXPERIMENT)
    plan = assemble("mixture", experiment, Settings(1, seed=0), Source(options.data))
    models = [fitted(plan, seed, options.epochs) for seed in range(options.seeds)]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    tried = [markov.space(study.ask()) for _ in range(options.settings)]
    chosen = max(
        tried, key=lambda setting: judge(Mixture(models[0], counts(plan, setting), 0.2), plan)
    )
    print(chosen)
    memory = counts(plan, chosen)
    for weight in WEIGHTS:
        values = np.array([judge(Mixture(model, memory, weight), plan) for model in models])
        mean, sd = values.mean(axis=0), values.std(axis=0)
        print(
            f"weight {weight:.2f}  nDCG@10 {mean[0]:.4f} (sd {sd[0]:.4f})  "
            f"full nDCG@10 {mean[1]:.4f} (sd {sd[1]:.4f})"
        )


if __name__ == "__main__":
    main()
