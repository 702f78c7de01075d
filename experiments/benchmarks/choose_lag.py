"""The evidence for the default lag and for TPE's kind, on real searches.

`python experiments/benchmarks/choose_lag.py` runs the search loop of `ncf.study` in one process
(same proposals, same stopping rule, same trials as `search.py` has) for each lag and each kind of
TPE, over several study seeds. A study is judged after several numbers of trials, since its first 50
trials are those of a study of 50. It is judged as the command would end: the best three trials are
trained again with three fresh seeds, the best of them by that mean is the winner, and the winner is
trained with three seeds more, whose mean is printed. Trial 0, the defaults, is left out, since it
is the same in every study, and where the defaults are good it would hide what was found.

`--model markov` searches that model's space in place of the experiment's, on the same data. Models
that no seed changes are judged by the value of the best trial. Everything is judged on validation;
test is never read. Each study's results are appended to `--out` as it ends, and one that is there
already is not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from choose_pruner import Curves, learning_curve, never, prepare
from optuna.trial import FrozenTrial, TrialState, create_trial

from ncf.models.table import MODELS, Setting, model_of
from ncf.protocol.seeds import Purpose, spawn
from ncf.study.experiment import Experiment
from ncf.study.experiment_file import load_experiment
from ncf.study.proposals import Proposals, n_known
from ncf.study.pruning import stopping_thresholds
from ncf.trials.data import TrialData

N_CONFIRMED, N_SEEDS, N_JUDGES = 3, 3, 3
KINDS = {
    "multivariate": partial(optuna.samplers.TPESampler, multivariate=True),
    "univariate": partial(optuna.samplers.TPESampler, multivariate=False),
}


class Trainings:
    """Trials that were trained; studies of one seed have their first, random trials in common."""

    def __init__(self, experiment: Experiment, data: TrialData, seed: int) -> None:
        """Prepares the trainings of the studies of one seed."""
        self._experiment, self._data, self._seed = experiment, data, seed
        self._trials: dict[tuple[int, Setting], tuple[list[float], bool]] = {}
        self._fresh: dict[tuple[Setting, int], float] = {}

    def trial(
        self, number: int, setting: Setting, thresholds: tuple[float, ...]
    ) -> tuple[list[float], bool]:
        """Returns the learning curve of a trial, and whether it was pruned."""
        key = number, setting
        if key in self._trials:
            curve, pruned = self._trials[key]
            for epoch in range(1, len(curve) + 1):
                if max(curve[:epoch]) < thresholds[epoch - 1]:
                    return curve[:epoch], True
            if not pruned:
                return curve, False
        patience = self._experiment.patience
        own_seed = spawn(self._seed, Purpose.TRIAL, number)
        self._trials[key] = learning_curve(self._data, setting, own_seed, thresholds, patience)
        return self._trials[key]

    def fresh(self, setting: Setting, seeds: range) -> float:
        """Returns the mean over fresh seeds of a setting's best epochs."""
        e = self._experiment
        if not model_of(setting).is_seeded:
            seeds = seeds[:1]
        for index in seeds:
            if (setting, index) not in self._fresh:
                own_seed = spawn(1000 + self._seed, Purpose.TRIAL, index)
                thresholds = never([], e.epochs)
                curve, _ = learning_curve(self._data, setting, own_seed, thresholds, e.patience)
                self._fresh[setting, index] = max(curve)
        return float(np.mean([self._fresh[setting, index] for index in seeds]))


def trials_of(
    experiment: Experiment, trainings: Trainings, kind: str, lag: int, seed: int
) -> Iterator[tuple[Setting, FrozenTrial]]:
    """Yields the trials of a study without end, each with its setting, decided as `lag` allows."""
    e = experiment
    sampler = KINDS[kind]
    proposals = Proposals(
        e.name, e.defaults, e.search_space, seed, lag, lambda seed: sampler(seed=seed)
    )
    trials: list[FrozenTrial] = []
    while True:
        number = len(trials)
        setting, proposal = proposals.next(trials)
        curves: Curves = [
            [*trial.intermediate_values.values()] for trial in trials[: n_known(number, lag)]
        ]
        thresholds = stopping_thresholds(curves, e.epochs)
        curve, pruned = trainings.trial(number, setting, thresholds)
        trial = create_trial(
            state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
            value=max(curve),
            params=proposal.params,
            distributions=proposal.distributions,
            intermediate_values=dict(enumerate(curve, start=1)),
        )
        trial.number = number
        trials.append(trial)
        yield setting, trial


def run_study(
    experiment: Experiment,
    trainings: Trainings,
    kind: str,
    lag: int,
    seed: int,
    at: Sequence[int],
) -> Iterator[dict[str, Any]]:
    """Yields what one study has come to after each number of trials."""
    done: list[tuple[Setting, FrozenTrial]] = []
    for setting, trial in trials_of(experiment, trainings, kind, lag, seed):
        done.append((setting, trial))
        if len(done) not in at:
            continue
        complete = [one for one in done[1:] if one[1].state == TrialState.COMPLETE]
        best = sorted(complete, key=lambda one: (-one[1].values[0], one[1].number))[:N_CONFIRMED]
        winner = max(best, key=lambda one: trainings.fresh(one[0], range(N_SEEDS)))
        fresh = trainings.fresh(winner[0], range(N_SEEDS, N_SEEDS + N_JUDGES))
        yield {
            "experiment": experiment.name,
            "kind": kind,
            "lag": lag,
            "seed": seed,
            "trials": len(done),
            "best": best[0][1].values[0],
            "winner": winner[1].number,
            "fresh": fresh,
            "mean": float(np.mean([max(one[1].intermediate_values.values()) for one in done[1:]])),
            "pruned": sum(one[1].state == TrialState.PRUNED for one in done),
            "epochs": sum(len(one[1].intermediate_values) for one in done),
            "settings": [one[1].params for one in done],
            "values": [max(one[1].intermediate_values.values()) for one in done],
        }
        if len(done) == max(at):
            return


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the mean over the study seeds of what each kind and lag came to."""
    print("trials  kind           lag  studies    best    winner, fresh seeds  sd of studies")
    for key in sorted({(row["trials"], row["kind"], row["lag"]) for row in rows}):
        same = [row for row in rows if (row["trials"], row["kind"], row["lag"]) == key]
        fresh = [row["fresh"] for row in same]
        spread = np.std(fresh, ddof=1) if len(fresh) > 1 else float("nan")
        print(
            f"{key[0]:6}  {key[1]:13}  {key[2]:3}  {len(same):7}  "
            f"{np.mean([row['best'] for row in same]):.4f}  {np.mean(fresh):19.4f}  {spread:13.4f}"
        )


def main() -> None:
    """Runs the studies that the file of results lacks, one after another, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", type=Path, default=Path("experiments/ml_100k.py"))
    parser.add_argument("--model", choices=list(MODELS), help="whose space (the experiment's)")
    parser.add_argument("--trials", type=int, nargs="*", default=[50, 100])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--lags", type=int, nargs="*", default=[8, 16, 32])
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--out", type=Path, required=True, help="the results, a JSON in each line")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    experiment = load_experiment(options.experiment)
    data = prepare(experiment)
    if options.model:
        model = MODELS[options.model]
        experiment = replace(
            experiment,
            name=f"{experiment.name}, {options.model}",
            defaults=model.defaults,
            search_space=model.space,
            epochs=model.most_epochs or experiment.epochs,
        )
    options.out.touch()

    def rows() -> list[dict[str, Any]]:
        lines = map(json.loads, options.out.read_text().splitlines())
        return [row for row in lines if row["experiment"] == experiment.name]

    for seed in options.seeds:
        trainings = Trainings(experiment, data, seed)
        for lag in options.lags:
            for kind in options.kinds:
                have = {
                    row["trials"]
                    for row in rows()
                    if (row["kind"], row["lag"], row["seed"]) == (kind, lag, seed)
                }
                if have >= {*options.trials}:
                    continue
                studied = run_study(experiment, trainings, kind, lag, seed, options.trials)
                for result in studied:
                    if result["trials"] not in have:
                        with options.out.open("a") as file:
                            file.write(json.dumps(result) + "\n")
    show(rows())


if __name__ == "__main__":
    main()
