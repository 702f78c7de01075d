"""How soon a command answers, and how soon a search trains: medians, of one commit beside another.

A trial begins where its worker does, which is later than its number is given out.

    python experiments/benchmarks/start_up.py FOLDER [FOLDER ...]

Each folder is a checkout. They take turns, so that other work on the machine slows all of them. The
data set must have been downloaded, and the kernels be compiled: the first round is not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

COMMANDS = (
    "--help", "status", "trials", "stop", "check", "data ml-100k", "models", "recommend --user 196",
)  # fmt: skip
SEARCH = "--trials 1 --epochs 1 --confirm 0 --baselines none --jobs 1 --study"
BEGAN = """import sys, optuna
from ncf.study import journal
optuna.logging.set_verbosity(optuna.logging.ERROR)
outcome = journal.outcome_of(journal.load_study(sys.argv[1]).trials[0])
print(outcome.time - outcome.seconds)"""


def main() -> None:
    """Prints a row for each thing that a person waits for, with a column for each checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found: dict[tuple[str, Path], list[float]] = defaultdict(list)
    for number in range(1 + options.rounds):
        for checkout in options.checkouts:
            with tempfile.TemporaryDirectory() as folder:
                for what, seconds in measure(checkout.resolve(), Path(folder)).items():
                    if number > 0:
                        found[what, checkout].append(seconds)
    for what in dict.fromkeys(what for what, _ in found):
        medians = (statistics.median(found[what, one]) for one in options.checkouts)
        print(f"{what:28}", *(f"{median:7.2f}" for median in medians))


def measure(checkout: Path, folder: Path) -> dict[str, float]:
    """Returns the seconds that each thing takes, in a new folder."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    seconds = {}
    for study, where in (("first", "a new store"), ("second", "a store")):
        start = time.time()
        command = [sys.executable, str(checkout / "search.py"), *SEARCH.split(), study]
        with subprocess.Popen(
            command, cwd=folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as search:  # fmt: skip
            assert search.stdout is not None
            search.stdout.readline()
            seconds[f"first line, {where}"] = time.time() - start
            search.stdout.read()
        seconds[f"whole search, {where}"] = time.time() - start
        began = subprocess.run(
            [sys.executable, "-c", BEGAN, study],
            cwd=folder, env=environment, text=True, capture_output=True, check=True,
        )  # fmt: skip
        seconds[f"first trial, {where}"] = float(began.stdout) - start
    for words in COMMANDS:
        start = time.time()
        command = [sys.executable, "-m", "ncf", *words.split()]
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
        seconds[words] = time.time() - start
    return seconds


if __name__ == "__main__":
    main()
