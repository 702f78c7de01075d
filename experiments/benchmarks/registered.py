"""Part `registered`: a registered version of each kind on disk, being made and being loaded.

Models are fitted to MovieLens 100K with their defaults, for one epoch: what is measured does not
depend on how well they learned.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
from measurement import Row, Setup
from safetensors.numpy import save_file

from ncf.data.datasets import load_interactions
from ncf.models.table import MODELS, Setting, fit
from ncf.protocol.splitting import leave_one_out
from ncf.serving.catalogue import Catalogue
from ncf.serving.packaged import load_recommender
from ncf.serving.scorers import for_use
from ncf.tracking.packaging import DATA_FOLDER, package

KINDS = ("gmf", "neumf", "ials", "itemknn", "ease", "markov", "slist", "mixture")
N_TIMES = 3  # the fastest counts


def measure(setup: Setup) -> list[Row]:
    """Returns the rows of the part."""
    split = leave_one_out(interactions := load_interactions("ml-100k"))
    history = split.train_and_validation
    catalogue = Catalogue.of(interactions, split.whole, history)
    beside: Path | None = None
    rows = []
    for kind in KINDS[:1] if setup.quick else KINDS:
        folder = Path(tempfile.mkdtemp(dir=setup.folder))
        setting: Setting = MODELS[kind].defaults
        seed = np.random.SeedSequence(0)
        (epoch, *_) = fit(history, setting, epochs=1, seed=seed, beside=beside)
        weights = folder / "weights.safetensors"
        arrays = for_use(epoch.scorer).arrays()
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, weights)
        beside = beside or weights  # of GMF, which a mixture is of
        model = folder / "model"

        def make(model: Path = model, weights: Path = weights, setting: Setting = setting) -> None:
            package(model, weights, setting, catalogue)

        made = _seconds(make)
        data = model / DATA_FOLDER
        rows += [
            Row("registered", f"{kind}: files", _megabytes(model), "MB"),
            Row("registered", f"{kind}: weights", _megabytes(data / weights.name), "MB"),
            Row("registered", f"{kind}: made", made, "s"),
            Row("registered", f"{kind}: loaded by this project", _load(data), "s"),
            Row("registered", f"{kind}: loaded by MLflow", _load_by_mlflow(model), "s"),
        ]
    rows.append(Row("registered", "catalogue", _megabytes(data / "catalogue.npz"), "MB"))
    rows.append(Row("registered", "code", _megabytes(model / "code"), "MB"))
    return rows


def _load(data: Path) -> float:
    return _seconds(lambda: load_recommender(data))


def _load_by_mlflow(model: Path) -> float:
    return _seconds(lambda: mlflow.pyfunc.load_model(str(model)))


def _seconds(call: Callable[[], object]) -> float:
    """Returns the seconds of the fastest of some calls."""
    times = []
    for _ in range(N_TIMES):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files if one.suffix != ".pyc") / 1e6
