"""Finds the best recommender for a data set: `python search.py --trials 50`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Searches the best GMF recommender for a data set. Trials, metrics and models "
        "land in MLflow; the winner is registered. The same command continues a study.",
    )
    add = parser.add_argument
    add("--trials", type=int, default=50, help="trials the study has in the end (default: 50)")
    add(
        "--experiment",
        default=str(Path(__file__).parent / "experiments" / "ml_100k.py"),
        help="file with the search space (default: experiments/ml_100k.py)",
    )
    add("--data", help="name (ml-100k, ml-1m, ...) or path (default: the experiment's)")
    add("--columns", help="names of its columns: user=...,item=...,rating=...,timestamp=...")
    add("--min-rating", type=float, help="keep only ratings at or above this (default: all)")
    add("--study", help="name of the study (default: the experiment's)")
    add("--jobs", type=int, help="trials trained at once (default: the number of cores)")
    add("--epochs", type=int, help="most epochs of a trial (default: the experiment's)")
    add("--timeout", type=float, help="seconds after which no new trial starts")
    add("--seed", type=int, default=0, help="seed of the study (default: 0)")
    add("--k", type=int, default=10, help="length of the lists that are judged (default: 10)")
    add("--device", default="auto", help="of the adam optimizer: auto (default), cpu, cuda, mps")
    add("--no-prune", action="store_true", help="let every trial train to its end")
    add(
        "--confirm",
        type=int,
        default=3,
        metavar="N",
        help="best trials to train again (default: 3)",
    )
    add("--confirm-seeds", type=int, default=3, metavar="N", help="seeds for each (default: 3)")
    add(
        "--baselines",
        default="popularity,itemknn,ials",
        help="what to hold the winner against, each tuned for as long as the trials took "
        "(default: popularity,itemknn,ials; none)",
    )
    add("--register", metavar="NAME", help="name in the model registry (default: gmf-<data>)")
    add("--no-register", action="store_true", help="leave the model registry alone")
    add("--repeat", metavar="RUN_ID", help="train a logged trial again and compare every metric")
    add("--quiet", action="store_true", help="print results and errors, no progress")
    add("--verbose", action="store_true", help="print a line for every trial")
    add("--log-file", metavar="FILE", help="append every trial and warning, with times, to a file")
    add("--tracking-uri", help="MLflow store (default: $MLFLOW_TRACKING_URI or mlruns/mlflow.db)")
    add("--storage", help="Optuna's record (default: mlruns/optuna.journal)")
    return parser.parse_args(arguments)


def main() -> None:
    """Runs the command; a person's mistake ends in one line and exit status 2."""
    options = parse_arguments()
    try:
        from ncf.commands.search import run  # after the parser, so that --help is quick

        sys.exit(run(options))
    except KeyboardInterrupt:  # before there was anything to continue
        sys.exit(130)


if __name__ == "__main__":
    main()
