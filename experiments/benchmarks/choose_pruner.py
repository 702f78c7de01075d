"""The evidence for the default sampler and pruner.

`python experiments/benchmarks/choose_pruner.py` runs the search loop of `ncf.study` in one process
(same proposals, same lag, same trials) with each sampler and each stopping rule, over several study
seeds. For each it prints the epochs trained, the winner's validation nDCG, and the mean of the
winner's setting over fresh trial seeds, which tells a good setting from a lucky trial. Everything
is judged on validation; test is never read.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from ncf.data.datasets import load_interactions
from ncf.models.table import Setting, fit
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.metrics import ndcg
from ncf.protocol.ranks import sampled_ranks
from ncf.protocol.seeds import Purpose, spawn, spawn_int
from ncf.protocol.splitting import leave_one_out
from ncf.study.experiment import Experiment
from ncf.study.experiment_file import load_experiment
from ncf.study.proposals import Proposals, n_known, tpe
from ncf.study.pruning import stopping_thresholds
from ncf.trials.data import TrialData
from ncf.trials.start import one_thread

Curves = list[list[float]]
Rule = Callable[[Curves, int], tuple[float, ...]]


def median(percentile: float, warmup: int, n_startup: int) -> Rule:
    """Returns the median stopping rule with these settings."""
    return lambda curves, epochs: stopping_thresholds(
        curves,
        epochs,
        n_startup_trials=n_startup,
        warmup_epochs=warmup,
        percentile=percentile,
    )


def never(curves: Curves, epochs: int) -> tuple[float, ...]:
    """Stops no trial."""
    return (-math.inf,) * epochs


def halving(factor: float, first: int) -> Rule:
    """Returns ASHA's rule: at epochs first * factor^i only the best 1/factor go on."""

    def rule(curves: Curves, epochs: int) -> tuple[float, ...]:
        rungs = {first * round(factor**i) for i in range(9)}
        all_epochs = stopping_thresholds(
            curves, epochs, n_startup_trials=5, warmup_epochs=0, percentile=100 * (1 - 1 / factor)
        )
        return tuple(
            threshold if epoch in rungs else -math.inf
            for epoch, threshold in enumerate(all_epochs, start=1)
        )

    return rule


def gp(seed: int) -> BaseSampler:
    """Returns Optuna's Gaussian-process sampler."""
    return optuna.samplers.GPSampler(seed=seed)


def univariate(seed: int) -> BaseSampler:
    """Returns TPE as Optuna 4 had it by default, each parameter by itself."""
    return optuna.samplers.TPESampler(seed=seed, multivariate=False, constant_liar=False)


def random(seed: int) -> BaseSampler:
    """Returns random search."""
    return optuna.samplers.RandomSampler(seed=seed)


NO_PATIENCE = 10**6
LAG = 8  # as it was when the pruner was chosen
VARIANTS: dict[str, tuple[Callable[[int], BaseSampler], Rule, int | None]] = {
    "tpe, every epoch": (tpe, never, NO_PATIENCE),
    "tpe, patience only": (tpe, never, None),
    "tpe, median, warm-up 1": (tpe, median(50, 1, 5), None),
    "tpe, median, warm-up 3": (tpe, median(50, 3, 5), None),
    "tpe, median, warm-up 5": (tpe, median(50, 5, 10), None),
    "tpe, percentile 75, warm-up 5": (tpe, median(75, 5, 10), None),
    "tpe, percentile 25, warm-up 3": (tpe, median(25, 3, 5), None),
    "tpe, halving by 2 from 4": (tpe, halving(2, 4), None),
    "tpe univariate, median, warm-up 3": (univariate, median(50, 3, 5), None),
    "gp, patience only": (gp, never, None),
    "random, patience only": (random, never, None),
}


def prepare(experiment: Experiment) -> TrialData:
    """Returns what trials are handed; candidates as study seed 0 draws them."""
    split = leave_one_out(load_interactions(experiment.data))
    whole, held_out = split.whole, split.validation
    seed = spawn_int(0, Purpose.VALIDATION_CANDIDATES)
    candidates = draw_candidates(
        whole.indptr, whole.items, whole.n_items, held_out.users, held_out.items, 100, seed
    )
    return TrialData(split.train, held_out, candidates)


def learning_curve(
    data: TrialData,
    setting: Setting,
    seed: np.random.SeedSequence,
    stop_below: tuple[float, ...],
    patience: int,
) -> tuple[list[float], bool]:
    """Trains one trial as `ncf.trials.trial` does; returns its curve and whether it was pruned."""
    curve: list[float] = []
    for result in fit(data.train, setting, epochs=len(stop_below), seed=seed):
        ranks = sampled_ranks(result.scorer, data.validation.users, data.candidates)
        curve.append(float(ndcg(ranks, 10).mean()))
        if max(curve) < stop_below[result.epoch - 1]:
            return curve, True
        if result.epoch - (1 + int(np.argmax(curve))) >= patience:
            break
    return curve, False


def run_study(path: str, variant: str, n_trials: int, seed: int) -> dict[str, Any]:
    """Runs one study and returns what it came to."""
    import torch

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    experiment = load_experiment(Path(path))
    data = prepare(experiment)
    make_sampler, rule, patience = VARIANTS[variant]
    start, n_epochs = time.perf_counter(), 0
    e = experiment
    proposals = Proposals(e.name, e.defaults, e.search_space, seed, LAG, make_sampler)
    trials: list[FrozenTrial] = []
    settings: list[Setting] = []
    for number in range(n_trials):
        hyperparameters, proposal = proposals.next(trials)
        known = trials[: n_known(number, LAG)]
        curves = [list(trial.intermediate_values.values()) for trial in known]
        curve, pruned = learning_curve(
            data,
            hyperparameters,
            spawn(seed, Purpose.TRIAL, number),
            rule(curves, experiment.epochs),
            patience or experiment.patience,
        )
        n_epochs += len(curve)
        trials.append(
            create_trial(
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                value=curve[-1] if pruned else max(curve),
                params=proposal.params,
                distributions=proposal.distributions,
                intermediate_values=dict(enumerate(curve, start=1)),
            )
        )
        trials[-1].number = number
        settings.append(hyperparameters)
    seconds = time.perf_counter() - start
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    winner = max(complete, key=lambda trial: (trial.value, -trial.number))
    fresh = [
        max(
            learning_curve(
                data,
                settings[winner.number],
                spawn(1000 + seed, Purpose.TRIAL, again),
                never([], experiment.epochs),
                experiment.patience,
            )[0]
        )
        for again in range(3)
    ]
    return {
        "experiment": experiment.name,
        "variant": variant,
        "seed": seed,
        "epochs": n_epochs,
        "seconds": seconds,
        "best": winner.value,
        "fresh": float(np.mean(fresh)),
        "pruned": n_trials - len(complete),
        "winner": asdict(replace(settings[winner.number])),
    }


def main() -> None:
    """Runs the studies on all cores and prints a row for each variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", default="experiments/ml_100k.py")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--json", type=Path, help="where to keep every study's result")
    options = parser.parse_args()
    tasks = [
        (options.experiment, variant, options.trials, seed)
        for seed in range(options.seeds)
        for variant in options.variants
    ]
    with one_thread(), multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        results = pool.starmap(run_study, tasks, chunksize=1)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    baseline = np.mean([r["epochs"] for r in results if r["variant"] == options.variants[0]])
    print(f"{options.experiment}, {options.trials} trials, {options.seeds} study seeds")
    print(f"{'sampler, pruner':36}  epochs of first    best   fresh      sd")
    for variant in options.variants:
        rows = [r for r in results if r["variant"] == variant]
        epochs = np.mean([r["epochs"] for r in rows])
        fresh = [r["fresh"] for r in rows]
        print(
            f"{variant:36} {epochs:7.0f} {epochs / baseline:8.2f} "
            f"{np.mean([r['best'] for r in rows]):7.4f} {np.mean(fresh):7.4f} {np.std(fresh):7.4f}"
        )


if __name__ == "__main__":
    main()
