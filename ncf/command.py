"""The search command, from its options to the registered winner: the whole job in order."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import re
import shutil
import sys
import warnings
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from ncf import journal, terminal
from ncf.datasets import load_interactions
from ncf.experiment import Experiment
from ncf.interactions import Interactions
from ncf.messages import TrialData
from ncf.models import ModelFiles
from ncf.proposals import LAG, describe_space
from ncf.columns import Columns
from ncf.recommender import Catalogue
from ncf.sampling import draw_candidates
from ncf.seeds import Purpose, spawn_int
from ncf.sgd import compile_kernels
from ncf.splitting import HeldOut, Split, leave_one_out
from ncf.study import Coordinator, Settings
from ncf.tracking import ROOT, DataFacts, Tracker, default_uri
from ncf.winner import Winner, crown
from ncf.workers import LocalWorkers


def run(options: argparse.Namespace) -> int:
    """Runs a search; returns the exit status."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="(mlflow|optuna|torch)")
    try:
        return _search(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def load_experiment(path: Path) -> Experiment:
    """Runs an experiment file and returns the `experiment` that it defines.

    Raises:
        ValueError: The file does not run, or defines none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such experiment file; --experiment names one")
    spec = importlib.util.spec_from_file_location("experiment_file", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: an experiment is a Python file, NAME.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        raise ValueError(f"{path}{where}: {type(error).__name__}: {error}") from error
    experiment = getattr(module, "experiment", None)
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{path}: must define `experiment = Experiment(...)`, see template.py")
    return experiment


@dataclass(frozen=True)
class _Data:
    interactions: Interactions
    split: Split
    validation_candidates: NDArray[np.int32]
    test_candidates: NDArray[np.int32]

    @property
    def facts(self) -> DataFacts:
        counts = {
            "users": self.interactions.n_users,
            "items": self.interactions.n_items,
            "interactions": self.interactions.n_interactions,
            "evaluated": len(self.split.test.users),
        }
        return DataFacts(self.interactions.name, self.interactions.fingerprint, counts)


def _search(options: argparse.Namespace) -> int:
    settings = _settings(options)
    experiment = _experiment(options)
    data = _load(experiment, settings, options)
    terminal.show_data(data.facts)
    study_name = _study_name(options.study or experiment.name)
    identity = _identity(experiment, settings, data)
    folder = ROOT / "studies" / study_name
    folder.mkdir(parents=True, exist_ok=True)
    storage = journal.open_storage(options.storage or str(ROOT / "optuna.journal"))
    with journal.lock_study(folder):
        study = journal.open_study(storage, study_name, identity)
        uri = options.tracking_uri or default_uri()
        tracker = Tracker(uri, ROOT, experiment.name, data.facts)
        params = {key: value for key, value in identity.items() if not isinstance(value, dict)}
        run_id = tracker.start_study(study_name, study.user_attrs["id"], params)
        study.set_user_attr("mlflow_run", run_id)
        try:
            _train(study, tracker, experiment, settings, data, folder, options.jobs)
            trials = study.get_trials(deepcopy=False)
            terminal.show_trials(trials, settings.k)
            name = None if options.no_register else options.register or f"gmf-{data.facts.name}"
            winner = _winner(study, tracker, experiment, settings, data, folder, name)
        except BaseException as error:
            tracker.end_study("interrupted")
            if not isinstance(error, KeyboardInterrupt):
                raise
            terminal.show_interruption(study_name)
            return 130
        tracker.end_study("finished")
    terminal.show_winner(winner, settings.k)
    terminal.show_next_steps(
        tracker.ui_command(), tracker.ui_link(f"best/{settings.objective}"), winner
    )
    return 0


def _train(
    study: optuna.Study,
    tracker: Tracker,
    experiment: Experiment,
    settings: Settings,
    data: _Data,
    folder: Path,
    jobs: int | None,
) -> None:
    """Trains what the study lacks."""
    trials = study.get_trials(deepcopy=False)
    n_missing = settings.n_trials - sum(map(journal.is_trained, trials))
    is_open = any(trial.state == TrialState.RUNNING for trial in trials)
    if n_missing <= 0 and not is_open:
        terminal.show_nothing_to_do(study.study_name, settings.n_trials)
    catalogue = Catalogue.of(data.interactions, data.split.whole)
    models = ModelFiles(folder, catalogue, _share(tracker, folder, data, catalogue))
    data_folder = folder / "data"
    data_folder.mkdir(exist_ok=True)
    TrialData(data.split.train, data.split.validation, data.validation_candidates).save(data_folder)
    compile_kernels()  # once, into numba's cache, before several workers would
    n_workers = min(jobs or os.cpu_count() or 1, LAG, max(n_missing, int(is_open)))
    coordinator = Coordinator(study, tracker, experiment, settings, models)
    with LocalWorkers(n_workers, data_folder) as workers:
        terminal.follow(coordinator.run(workers), trials, settings.n_trials, experiment.epochs)
    shutil.rmtree(data_folder)


def _winner(
    study: optuna.Study,
    tracker: Tracker,
    experiment: Experiment,
    settings: Settings,
    data: _Data,
    folder: Path,
    name: str | None,
) -> Winner:
    """Returns the study's winner: the recorded one where it is still the best trial."""
    ranking = journal.best_first(study.get_trials(deepcopy=False))
    if not ranking:
        raise RuntimeError(
            f"study {study.study_name!r} has no finished trial to crown: give it more --trials"
        )
    best = ranking[0]
    recorded = study.user_attrs.get("winner")
    if recorded is not None:
        winner = Winner(**recorded)
        if winner.number == best.number and (name is None or winner.name == name):
            return winner
    protocol = {
        "fingerprint": data.facts.fingerprint,
        "protocol": f"leave-one-out, {experiment.n_candidates} negatives, k {settings.k}",
    }
    catalogue = Catalogue.of(data.interactions, data.split.whole)
    winner = crown(
        best, data.split, data.test_candidates, catalogue, tracker, settings,
        name=name, protocol=protocol, study=study.study_name, folder=folder,
    )  # fmt: skip
    study.set_user_attr("winner", asdict(winner))
    return winner


def _experiment(options: argparse.Namespace) -> Experiment:
    experiment = load_experiment(Path(options.experiment))
    if options.data is not None and options.data != experiment.data:
        name = Path(options.data).name.split(".")[0]
        experiment = replace(experiment, data=options.data, name=name)
    if options.epochs is not None:
        experiment = replace(experiment, epochs=options.epochs)
    return experiment


def _settings(options: argparse.Namespace) -> Settings:
    for name in ("trials", "jobs", "k", "timeout"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise ValueError(f"--{name} must be positive, but got {value}")
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative, but got {options.seed}")
    if options.device not in ("auto", "cpu"):
        from ncf.training import choose_device

        choose_device(options.device)  # raises now and not in every trial
    return Settings(
        n_trials=options.trials,
        seed=options.seed,
        k=options.k,
        device=options.device,
        timeout=options.timeout,
        prune=not options.no_prune,
    )


def _study_name(name: str) -> str:
    if not re.fullmatch(r"[\w-][\w. -]*", name):  # it names a folder
        raise ValueError(f"--study {name!r}: a name is letters, digits, '-', '_', '.' and spaces")
    return name


def _load(experiment: Experiment, settings: Settings, options: argparse.Namespace) -> _Data:
    columns = _columns(options.columns)
    interactions = load_interactions(experiment.data, columns, options.min_rating)
    split = leave_one_out(interactions)
    whole = split.whole

    def draw(held_out: HeldOut, purpose: Purpose) -> NDArray[np.int32]:
        return draw_candidates(
            whole.indptr,
            whole.items,
            whole.n_items,
            held_out.users,
            held_out.items,
            experiment.n_candidates,
            spawn_int(settings.seed, purpose),
        )

    return _Data(
        interactions,
        split,
        draw(split.validation, Purpose.VALIDATION_CANDIDATES),
        draw(split.test, Purpose.TEST_CANDIDATES),
    )


def _columns(option: str | None) -> Columns:
    if option is None:
        return Columns()
    pairs = dict(part.partition("=")[::2] for part in option.split(","))
    known = [field.name for field in fields(Columns)]
    if not set(pairs) <= set(known) or not all(pairs.values()):
        raise ValueError(
            f"--columns {option}: expected NAME=COLUMN,... with names of {', '.join(known)}"
        )
    return Columns(**pairs)


def _identity(experiment: Experiment, settings: Settings, data: _Data) -> dict[str, Any]:
    """Returns all that makes the trials of a study comparable."""
    return {
        "data": data.facts.name,
        "fingerprint": data.facts.fingerprint,
        "split": "leave-one-out",
        "n_candidates": experiment.n_candidates,
        "k": settings.k,
        "seed": settings.seed,
        "epochs": experiment.epochs,
        "patience": experiment.patience,
        "prune": settings.prune,
        "lag": LAG,
        "defaults": asdict(experiment.defaults),
        "space": describe_space(experiment.search_space),
    }


def _share(tracker: Tracker, folder: Path, data: _Data, catalogue: Catalogue) -> str:
    """Keeps the candidates and the catalogue with the study; returns the catalogue's URI."""
    if not tracker.has_artifact("catalogue.npz"):
        np.savez_compressed(
            folder / "candidates.npz",
            validation=data.validation_candidates,
            test=data.test_candidates,
        )
        catalogue.save(folder / "catalogue.npz")
        for name in ("candidates.npz", "catalogue.npz"):
            tracker.log_artifact(folder / name)
            (folder / name).unlink()
    return f"runs:/{tracker.parent}/catalogue.npz"
