"""The command line of `search.py`: its options with their help, read into `Options`.

Importing this loads nothing heavy, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ncf.commands import failures
from ncf.commands.options import BASELINES, DEFAULT_EXPERIMENT, Options, named


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Returns the options of a command line; argparse ends the program where it cannot be read."""
    parser = argparse.ArgumentParser(
        description="Searches the best recommender for a data set. Trials, metrics and models "
        "land in MLflow; the winner is registered. The same command continues a study.",
    )
    _add_search(parser)
    _add_data(parser)
    _add_contest(parser)
    _add_output(parser)
    values = vars(failures.parse(parser, arguments))
    if values["register"] == "":
        parser.error("--register needs a name; --no-register leaves the model registry alone")
    log_file = values["log_file"]
    if log_file is not None and not (folder := Path(log_file).parent).is_dir():
        parser.error(f"--log-file {log_file}: no folder {folder}; make it first")
    baselines = values.pop("baselines")
    no_register = values.pop("no_register")
    values["baselines"] = named(baselines)
    values["prune"] = not values.pop("no_prune")
    values["experiment"] = Path(values["experiment"])
    if no_register:
        values["register"] = ""
    return Options(**values)


def _add_search(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the search").add_argument
    add("--trials", type=int, default=50, help="trials the study has in the end (default: 50)")
    add(
        "--experiment",
        default=str(DEFAULT_EXPERIMENT),
        help="file with the search space (default: experiments/ml_100k.py)",
    )
    add("--study", help="name of the study (default: the experiment's)")
    add("--jobs", type=int, help="trials trained at once (default: the number of cores)")
    add(
        "--cluster",
        metavar="ADDRESS",
        help="train on a Ray cluster: HOST:PORT of its head, auto for the one that this machine is "
        'a node of, local to try it out here (needs pip install -e ".[cluster]")',
    )
    add(
        "--lag",
        type=int,
        metavar="N",
        help="a trial is decided from those up to N before it, so that N can be trained at once; "
        "the study keeps it (default: 8, or twice the jobs where that is more)",
    )
    add("--epochs", type=int, help="most epochs of a trial (default: the experiment's)")
    add("--timeout", type=float, help="seconds after which no new trial starts")
    add("--seed", type=int, default=0, help="seed of the study (default: 0)")
    add("--k", type=int, default=10, help="length of the lists that are judged (default: 10)")
    add(
        "--objective",
        default="ndcg",
        metavar="METRIC",
        help="what is maximised on validation: ndcg (default), hit_ratio, mrr, or full_ndcg, "
        "full_hit_ratio, full_mrr over the full catalogue",
    )
    add("--device", default="auto", help="for PyTorch's models: auto (default), cpu, cuda, mps")
    add("--no-prune", action="store_true", help="let every trial train to its end")


def _add_data(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("your data").add_argument
    add("--data", help="name (ml-100k, ml-1m, ...) or path (default: the experiment's)")
    add("--columns", help="its columns: user=...,item=...,rating=...,timestamp=...")
    add("--min-rating", type=float, help="keep only ratings at or above this (default: all)")
    add("--drop-empty", action="store_true", help="leave out rows with an empty user, item, rating "
        "or time, and say how many they are (default: refuse the file)")  # fmt: skip
    add("--titles", metavar="FILE", help="titles for answers, given from the study's first "
        "command on: a CSV or parquet file with an item and a title column")  # fmt: skip
    add(
        "--split",
        default="leave-one-out",
        help="leave-one-out (default) holds out each user's latest items; time, or time:0.9,0.95 "
        "with its quantiles, what comes after a moment that is the same for all users",
    )
    add("--targets", help="with --split time, a user's items that are asked for after the cut: "
        "last (default), first, all")  # fmt: skip


def _add_contest(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("is the winner really better, and where it goes")
    add = group.add_argument
    add(
        "--confirm",
        type=int,
        metavar="N",
        default=3,
        help="best trials to train again with fresh seeds (default: 3)",
    )
    add(
        "--confirm-seeds",
        type=int,
        metavar="N",
        default=3,
        help="fresh seeds for each of them (default: 3)",
    )
    add(
        "--baselines",
        default=",".join(BASELINES),
        help="what else can win, each tuned on as many settings as there are trials, at least 20 "
        "(slist and mixture on 20); what the study has tuned stays in its contest (default: "
        f"{','.join(BASELINES)}; none)",
    )
    add(
        "--register-best",
        choices=("gmf", "any"),
        default="any",
        help="what wins and is registered: any (default), the best of all on validation; gmf, the "
        "best of the study's trials",
    )
    add("--register", metavar="NAME", help="name in the model registry (default: gmf-<data>)")
    add("--no-register", action="store_true", help="leave the model registry alone")
    add(
        "--keep-models",
        type=int,
        metavar="N",
        help="models that MLflow is given: those of the best N trials at any time (default: all of "
        "a study of at most 100 trials, else 10); `register` trains another's again",
    )
    add("--repeat", metavar="RUN_ID", help="train a logged trial again and compare every metric")


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is printed, and where records are kept").add_argument
    add("--quiet", action="store_true", help="print results and errors, no progress")
    add("--verbose", action="store_true", help="print a line for every trial")
    add("--log-file", metavar="FILE", help="append every trial and warning, with times, to a file")
    add("--tracking-uri", help="MLflow store (default: $MLFLOW_TRACKING_URI or mlruns/mlflow.db)")
    add("--storage", help="Optuna's record (default: mlruns/optuna.journal)")
