"""GMF, MLP and NeuMF, each searched over its own space for the same processor seconds.

    python experiments/benchmarks/family.py [--data ml-100k] [--seconds 60] [--models gmf mlp neumf]

Trial 0 of each model is its defaults, so that `--seconds 1` gives the defaults alone. Judged on
validation, as in a search; test is never read. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState, create_trial

from ncf import Experiment, Hyperparameters
from ncf.models.table import MODELS, Setting, describe
from ncf.protocol.seeds import Purpose, spawn
from ncf.study.plan import Plan, Settings, assemble
from ncf.study.proposals import Proposals
from ncf.study.source import Source
from ncf.trials import trial
from ncf.trials.messages import Outcome


def main() -> None:
    """Searches each model and prints its best trial by validation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="ml-100k")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a processor, each")
    parser.add_argument("--models", nargs="*", default=["gmf", "mlp", "neumf"])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    defaults = Hyperparameters()
    experiment = Experiment("family", options.data, defaults, lambda _: defaults)
    plan = assemble("family", experiment, Settings(1, seed=0, device="cpu"), Source(options.data))
    print(f"{options.data}, {options.seconds:.0f} processor seconds for each model")
    print("| model | trials | nDCG@10 | full nDCG@10 | best epoch | its setting |")
    print("|---|---|---|---|---|---|")
    for name in options.models:
        n_trials, best, setting = search(name, plan, options.seconds)
        print(
            f"| {MODELS[name].title} | {n_trials} | {best.metrics['ndcg_10']:.4f} "
            f"| {best.metrics_full['ndcg_10']:.4f} | {best.best_epoch} | {describe(setting)} |",
            flush=True,
        )


def search(name: str, plan: Plan, seconds: float) -> tuple[int, Outcome, Setting]:
    """Returns how many settings were trained, the best one's outcome, and the best one."""
    model = MODELS[name]
    proposals = Proposals(name, model.defaults, model.space, seed=0, lag=1)
    trials: list[FrozenTrial] = []
    found: list[tuple[Outcome, Setting]] = []
    start = time.process_time()
    while time.process_time() - start < seconds:
        setting, running = proposals.next(trials)
        number = len(trials)
        task = plan.task(number, setting, spawn(0, Purpose.TRIAL, number))
        state, value = TrialState.FAIL, None
        try:
            *_, outcome = trial.run(task, plan.trial_data)
            if isinstance(outcome, Outcome):
                state, value = TrialState.COMPLETE, outcome.metrics["ndcg_10"]
                found.append((outcome, setting))
        except FloatingPointError:  # it diverged
            pass
        ended = create_trial(
            state=state, value=value, params=running.params, distributions=running.distributions
        )
        ended.number = number
        trials.append(ended)
    best, setting = max(found, key=lambda one: one[0].metrics["ndcg_10"])
    return len(trials), best, setting


if __name__ == "__main__":
    main()
