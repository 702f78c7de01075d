"""The search command: a prepared study, its workers, and what became of it."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import warnings
from pathlib import Path

import optuna
from optuna.trial import TrialState

from ncf.commands import progress, terminal
from ncf.data.files import RESULTS
from ncf.search import journal
from ncf.search.plan import Prepared, prepare
from ncf.search.proposals import LAG
from ncf.trials.estimate import check_fits
from ncf.trials.local import LocalWorkers

_logger = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    """Runs a search; returns the exit status."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="(mlflow|optuna|torch)")
    try:
        progress.set_up(options.quiet, options.verbose, options.log_file)
        if options.repeat is not None:
            from ncf.commands.repeat import repeat  # it needs MLflow and torch; a search, not yet

            return repeat(options.repeat, options.tracking_uri)
        return _search(options)
    except (ValueError, OSError, RuntimeError) as error:
        terminal.show_error(error)
        return 2
    except Exception:
        _logger.exception("a defect of this program:")  # the traceback, without passwords
        return 1


def _search(options: argparse.Namespace) -> int:
    prepared = prepare(options)
    terminal.show_data(prepared.facts)
    folder = RESULTS / "studies" / prepared.study_name
    storage = journal.open_storage(options.storage or str(RESULTS / "optuna.journal"))
    folder.mkdir(parents=True, exist_ok=True)
    with journal.lock_study(folder):
        study = journal.open_study(storage, prepared.study_name, prepared.identity)
        _remove_scratch(folder)
        n_workers = _n_workers(options.jobs)
        n_at_once = min(n_workers, _n_to_train(study, prepared))
        if n_at_once > 0:
            terminal.show_estimate(check_fits(prepared.estimates, n_workers), n_at_once)
        data_folder = folder / "data"
        data_folder.mkdir(exist_ok=True)
        try:
            prepared.trial_data.save(data_folder)
            with LocalWorkers(n_workers, data_folder, n_at_once) as workers:
                from ncf.commands.conclusion import (
                    conclude,  # MLflow loads while the workers load torch
                )

                return conclude(study, prepared, workers, folder, options)
        finally:
            _remove_scratch(folder)


def _remove_scratch(folder: Path) -> None:
    """Removes what a kill may leave; weights and results stay until MLflow has them."""
    shared = ("candidates.npz", "catalogue.npz")
    left = ("data", "*.part", "trial-model*", "confirmation-*", "baseline*", "refit*", *shared)
    for pattern in left:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _n_to_train(study: optuna.Study, prepared: Prepared) -> int:
    trials = study.get_trials(deepcopy=False)
    n_open = sum(trial.state == TrialState.RUNNING for trial in trials)
    n_missing = prepared.settings.n_trials - sum(map(journal.is_trained, trials))
    if n_missing <= 0 and n_open == 0:
        terminal.show_nothing_to_do(prepared.study_name, prepared.settings.n_trials)
    return max(n_missing, n_open)


def _n_workers(jobs: int | None) -> int:
    if jobs is not None and jobs > LAG:
        _logger.warning(
            "--jobs %d: no more than %d trials can be trained at once, since a trial is decided "
            "from those %d before it",
            jobs,
            LAG,
            LAG,
        )
    return min(jobs or os.cpu_count() or 1, LAG)
