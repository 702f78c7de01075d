"""Part `quality`: seconds until a model is nearly as good as it gets, beside iALS, on one core.

Data: the training file of the NCF paper's ml-1m (He et al. 2017) and no other, so nothing of its
test set is seen. Each user's last training item is held out and ranked among 99 items that the user
has not touched in that file. Time starts with the start from the SVD and leaves out evaluation.
iALS is irspack's, with the settings in `peer_irspack.py`, on the same items and candidates. The
settings here were chosen on validation by a study or by a few of these curves, those of iALS were
not: the curves tell the speed of learning, and are no proof of which model is better.

Part `sasrec`: the whole command on one core, from its start until trial 0, the defaults, has
reached on validation what was published for SASRec on test of nearly the same split.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from measurement import ROOT, Row, Setup, in_fresh_process, run_peer
from search_time import search

from ncf.study import journal
from ncf.study.experiment_file import load_experiment
from ncf.trials.start import one_thread

Curve = list[tuple[float, float]]  # after each epoch: seconds so far, validation nDCG@10

EPOCHS = 20
SASREC = 0.5905  # nDCG@10 of ml-1m in Kang & McAuley, "Self-Attentive ...", ICDM 2018, table 3
EXPERIMENT = ROOT / "experiments" / "ncf_ml_1m.py"  # its defaults are an earlier study's winner
SETTINGS: dict[str, dict[str, Any]] = {
    "the experiment's defaults": asdict(load_experiment(EXPERIMENT).defaults),
    "without recency": {  # as iALS here, which cannot know the order of a user's items
        "embedding_dim": 64,
        "n_negatives": 3,
        "learning_rate": 0.04,
        "learning_rate_decay": 0.85,
        "weight_decay": 0.007,
        "init_rms": 0.5,
    },
}


def measure(setup: Setup) -> list[Row]:
    """Returns the rows of the part."""
    data = setup.folder / "ncf-ml-1m.npz"
    in_fresh_process(hold_out, data)
    curves: dict[str, Curve] = {}
    for name, setting in list(SETTINGS.items())[: 1 if setup.quick else None]:
        with one_thread():
            curves[name], _ = in_fresh_process(learn, data, setting, 4 if setup.quick else EPOCHS)
    rows = [row for name, curve in curves.items() for row in _rows(f"sgd, {name}", curve)]
    with one_thread():
        peer = run_peer(setup, "irspack", str(data))
    if peer is None:
        print("quality: irspack is skipped, as --irspack-python is not given")
        return rows
    ials: Curve = [(seconds, ndcg) for seconds, ndcg in peer["curve"]]
    rows += _rows(f"iALS 64, irspack {peer['version']}", ials)
    best = max(ndcg for _, ndcg in ials)
    by_then = _seconds_to(ials, best)
    for name, curve in curves.items():
        value, seconds = _best_by(curve, by_then), _seconds_to(curve, best)
        rows += [
            Row("quality", f"sgd, {name}, when iALS is at its best", value, "nDCG@10",
                f"iALS, {best:.4f}", value / best, "> 1"),
            Row("quality", f"sgd, {name}, to the best of iALS", seconds, "s",
                f"iALS, {by_then:.2f}", seconds / by_then, "< 1"),
            Row("quality", f"sgd, {name}, ahead of iALS from", _ahead_from(curve, ials), "s"),
        ]  # fmt: skip
    return rows


def measure_sasrec(setup: Setup) -> list[Row]:
    """Returns the row of the whole command beside what was published for SASRec."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # inherited by the command and its worker
    try:
        found = search(setup, "ncf-ml-1m", 1, "--jobs", "1", "--no-register")
    finally:
        os.sched_setaffinity(0, cores)
    reports = journal.reports_of(found.trials[0])
    curve = [(report.time - found.start, report.metrics["ndcg_10"]) for report in reports]
    seconds = _seconds_to(curve, SASREC)
    what = f"search.py on one core, to SASRec's published {SASREC} on validation"
    return [Row("sasrec", what, seconds, "s", "20 s", seconds / 20, "< 20 s", {"curve": curve})]


def hold_out(path: Path) -> None:
    """Saves the training matrix without each user's last item, and the candidates of that."""
    from ncf.data.files import data_home
    from ncf.data.interactions import from_columns
    from ncf.models.positives import items_by_time
    from ncf.protocol.candidates import draw_candidates
    from ncf.protocol.splitting import history_of

    file = data_home() / "ncf-ml-1m" / "ml-1m.train.rating"
    columns = np.loadtxt(file, np.int64, delimiter="\t", usecols=(0, 1, 3))
    whole = from_columns("ncf-ml-1m", *columns.T)
    last = whole.indptr[1:] - 1  # of each user, as they are ordered by time
    user_of = np.repeat(np.arange(whole.n_users, dtype=np.int32), np.diff(whole.indptr))
    trains = np.ones(whole.n_interactions, np.bool_)
    trains[last] = False
    train = history_of(user_of[trains], whole.items[trains], whole.n_users, whole.n_items)
    seen = history_of(user_of, whole.items, whole.n_users, whole.n_items)
    users = np.arange(whole.n_users, dtype=np.int32)
    candidates = draw_candidates(
        seen.indptr, seen.items, seen.n_items, users, whole.items[last], 99, seed=1
    )
    np.savez(
        path,
        indptr=train.indptr,
        items=train.items,
        by_time=items_by_time(train),
        n_items=train.n_items,
        users=users,
        candidates=candidates,
    )


def learn(path: Path, setting: dict[str, Any], epochs: int) -> Curve:
    """Trains and evaluates, on one thread."""
    import torch

    from ncf.models.gmf.setting import Hyperparameters
    from ncf.models.table import compile_kernels, fit
    from ncf.protocol.metrics import summarize
    from ncf.protocol.ranks import sampled_ranks
    from ncf.protocol.splitting import History

    torch.set_num_threads(1)
    compile_kernels()
    data = np.load(path)
    history = History(data["indptr"], data["items"], int(data["n_items"]), data["by_time"])
    users, candidates = data["users"], data["candidates"]
    curve: Curve = []
    start, evaluation = time.perf_counter(), 0.0
    seed = np.random.SeedSequence(1)
    for result in fit(history, Hyperparameters(**setting), epochs=epochs, seed=seed):
        now = time.perf_counter()
        ndcg = summarize(sampled_ranks(result.scorer, users, candidates), 10)["ndcg_10"]
        curve.append((now - start - evaluation, ndcg))
        evaluation += time.perf_counter() - now
    return curve


def _rows(what: str, curve: Curve) -> list[Row]:
    best = max(ndcg for _, ndcg in curve)
    at_first = {"curve": curve}
    rows = [Row("quality", f"{what}, best nDCG", best, "nDCG@10", details=at_first)]
    for share in (0.95, 0.99):
        seconds = _seconds_to(curve, share * best)
        rows.append(Row("quality", f"{what}, to {share:.0%} of its best", seconds, "s"))
    return rows


def _seconds_to(curve: Curve, ndcg: float) -> float:
    """Returns the time at which the curve reaches a value; infinity where it does not."""
    return next((seconds for seconds, value in curve if value >= ndcg), float("inf"))


def _best_by(curve: Curve, seconds: float) -> float:
    """Returns the best value that the curve had by then, 0 before its first."""
    return max((value for second, value in curve if second <= seconds), default=0.0)


def _ahead_from(curve: Curve, other: Curve) -> float:
    """Returns the time after which the best so far is above the other's, for good."""
    behind = [seconds for seconds, _ in sorted(curve + other)
              if _best_by(curve, seconds) <= _best_by(other, seconds)]  # fmt: skip
    later = [seconds for seconds, _ in curve if not behind or seconds > behind[-1]]
    return later[0] if later else float("inf")
