"""How many trials a second a tracking server takes, and how far MLflow lags behind a search.

    mlflow server --backend-store-uri postgresql+psycopg://... --artifacts-destination FOLDER
    python experiments/benchmarks/tracking_server.py --tracking-uri http://127.0.0.1:5000

Trials that have ended come at a steady rate, each with ten epochs and the weights of a model for
MovieLens 100K, and are written by the code of a search. Nothing is trained.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from optuna.trial import TrialState, create_trial
from safetensors.numpy import save_file

from ncf.models.gmf.setting import Hyperparameters
from ncf.serving.catalogue import Catalogue
from ncf.study.experiment import DataFacts
from ncf.tracking.kept import Kept
from ncf.tracking.logged_models import ModelFiles
from ncf.tracking.mirror import Mirror
from ncf.tracking.tracker import Tracker
from ncf.tracking.trial_runs import TrialRecord, write_trial
from ncf.trials.messages import EpochReport, Outcome

N_USERS, N_ITEMS, DIM, EPOCHS = 943, 1682, 32, 10


def main() -> None:
    """Writes the trials and prints a row of the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracking-uri", required=True)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--keep-models", type=int)
    parser.add_argument("--rate", type=float, default=1000.0, help="trials that end in a second")
    parser.add_argument(
        "--pids", type=int, nargs="*", default=[], help="servers whose processor time is counted"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(measure(options, Path(folder)))


def measure(options: argparse.Namespace, folder: Path) -> str:
    """Returns the results in a line."""
    rng = np.random.default_rng(0)
    weights = {
        "user_factors": rng.random((N_USERS, DIM), np.float32),
        "item_factors": rng.random((N_ITEMS, DIM), np.float32),
    }
    users, items = np.arange(N_USERS), np.arange(N_ITEMS)
    seen = np.arange(N_USERS + 1) * 100
    catalogue = Catalogue(users, items, None, seen, rng.integers(0, N_ITEMS, seen[-1], np.int32))
    facts = DataFacts("benchmark", "0123456789abcdef", {"users": N_USERS})
    tracker = Tracker(options.tracking_uri, folder, "benchmark", facts)
    tracker.start_study("benchmark", str(time.time()), {"seed": 0})
    models = ModelFiles(folder, catalogue, f"runs:/{tracker.parent}/catalogue.npz")
    kept = Kept(options.keep_models, options.trials)
    mirror = Mirror(n_threads=options.threads)
    lags: list[float] = []
    has_model: list[bool] = []

    def write(record: TrialRecord, ended_at: float) -> None:
        has_model.append(kept.has(record.number))
        write_trial(record, tracker, models, kept.has)
        lags.append(time.monotonic() - ended_at)

    before, of_servers = time.process_time(), processor_seconds(options.pids)
    start = time.monotonic()
    for number in range(options.trials):
        time.sleep(max(0.0, start + number / options.rate - time.monotonic()))
        save_file(weights, models.weights(number))
        value = float(rng.random())
        trial = create_trial(state=TrialState.COMPLETE, value=value)
        trial.number = number
        kept.note(trial)
        record = TrialRecord(number, Hyperparameters(), time.time(), reports_of(number), None)
        record.end = outcome_of(number, value)
        mirror.put(f"trial {number}", partial(write, record, time.monotonic()), is_apart=True)
    missing = mirror.finish(60.0)
    seconds = time.monotonic() - start
    assert not missing, missing
    client, servers = time.process_time() - before, processor_seconds(options.pids) - of_servers
    n = options.trials
    return (
        f"{options.threads} threads, {sum(has_model)} models of {n} trials at "
        f"{options.rate:g}/s: {n / seconds:.1f} trials/s; processor per trial: client "
        f"{1000 * client / n:.0f} ms, servers {1000 * servers / n:.0f} ms; MLflow lags "
        f"{np.median(lags):.1f} s in the median, {max(lags):.1f} s at most"
    )


def reports_of(number: int) -> list[EpochReport]:
    """Returns the reports of a trial's epochs, with the metrics that a search has."""
    metrics = {"hit_ratio_10": 0.8, "ndcg_10": 0.5, "mrr_10": 0.4}
    now = time.time()
    return [EpochReport(number, e, now + e, 0.5, 0.1, 500_000, metrics) for e in range(1, EPOCHS)]


def outcome_of(number: int, value: float) -> Outcome:
    """Returns how a trial has ended."""
    metrics = {"hit_ratio_10": 0.8, "ndcg_10": value, "mrr_10": 0.4}
    return Outcome(number, False, EPOCHS, EPOCHS, metrics, metrics, 1.0, time.time())


def processor_seconds(pids: list[int]) -> float:
    """Returns the time of the processor that processes and all their children have taken."""
    total = 0.0
    for root in map(psutil.Process, pids):
        for process in [root, *root.children(recursive=True)]:
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


if __name__ == "__main__":
    main()
