"""The search command: makes the plan, opens the study's record and lock, starts the workers."""

from __future__ import annotations

import logging
import shutil
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from ncf.commands import interrupt, progress, terminal, workplace
from ncf.commands.facts import FEW_USERS
from ncf.commands.failures import guarded
from ncf.commands.first_trials import begin, stopper
from ncf.commands.options import Options, check_name
from ncf.data.datasets import name_of
from ncf.data.files import RESULTS, wait_for_room
from ncf.protocol.choice import parse_split
from ncf.protocol.metrics import Objective
from ncf.report.words import full_ranking
from ncf.study import baselines, journal
from ncf.study.experiment import Experiment
from ncf.study.experiment_file import load_experiment
from ncf.study.identity import recorded_lag
from ncf.study.plan import Plan, Settings, assemble
from ncf.study.presence import Search
from ncf.study.proposals import N_RANDOM, SHORTEST_LAG, lag_for
from ncf.study.sole import sole
from ncf.study.source import Source
from ncf.study.storage import lock_study, open_storage

if TYPE_CHECKING:
    from ncf.trials.ray_cluster import Cluster

_logger = logging.getLogger(__name__)


def run(options: Options) -> int:
    """Runs a search, or repeats a trial; returns the exit status.

    Ctrl-C, SIGTERM and SIGHUP end it in order, with 128 and the signal's number as the status.
    """
    return guarded(lambda: _run(options))


def _run(options: Options) -> int:
    try:
        if options.repeat is None:
            return search_study(options)[1]
        with interrupt.handled():
            _set_up(options)
            from ncf.commands.repeat import repeat  # here: it needs MLflow, which takes seconds

            with workplace.opened(options) as cluster:
                return repeat(options.repeat, options.tracking_uri, cluster)
    except KeyboardInterrupt:
        terminal.show_interruption()
        return interrupt.exit_status()


def search_study(options: Options) -> tuple[str, int]:
    """Runs a search; returns the study's name, and the exit status of the command.

    Raises:
        ValueError: An option, the experiment or the data breaks a rule.
        OSError: A file is not there, or cannot be read, written or downloaded.
        RuntimeError: Too many trials failed, or another process searches the study.
        KeyboardInterrupt: A signal came before the first trial or after the last.
    """
    with interrupt.handled():
        _set_up(options)
        with workplace.opened(options) as cluster:
            plan = plan_of(options)
            return plan.study_name, _search(plan, options, cluster)


def _set_up(options: Options) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="(mlflow|optuna|torch)")
    progress.set_up(options.quiet, options.verbose, options.log_file)


def plan_of(options: Options) -> Plan:
    """Reads the experiment and the data, splits them and draws the candidates.

    Raises:
        ValueError: An option, the experiment or the data breaks a rule.
        OSError: A file is not there, or cannot be read or downloaded.
    """
    options.check()
    if options.device not in ("auto", "cpu"):
        from ncf.models.training import choose_device  # here: it needs torch

        choose_device(options.device)  # to raise an error now, and not in every trial
    experiment = _experiment(options)
    if options.k > experiment.n_sampled_negatives:
        raise ValueError(
            f"--k {options.k}: a list of that many holds each of the "
            f"{experiment.n_sampled_negatives} sampled negatives; give at most "
            f"{experiment.n_sampled_negatives}"
        )
    study_name = check_name("--study", options.study or experiment.name)
    settings = Settings(
        n_trials=options.trials,
        seed=options.seed,
        objective=Objective(options.objective, options.k),
        device=options.device,
        timeout=options.timeout,
        prune=options.prune,
    )
    choice = parse_split(options.split, options.targets)
    source = Source(
        experiment.data,
        options.columns,
        options.min_rating,
        choice,
        options.titles,
        options.drop_empty,
    )
    plan = assemble(study_name, experiment, settings, source)
    if options.register is None:
        check_name("--register", f"gmf-{plan.facts.name}")
    return plan


def _experiment(options: Options) -> Experiment:
    experiment = load_experiment(options.experiment)
    if options.data is not None and options.data != experiment.data:
        experiment = replace(experiment, data=options.data, name=name_of(Path(options.data)))
    if options.epochs is not None:
        experiment = replace(experiment, epochs=options.epochs)
    return experiment


def _search(plan: Plan, options: Options, cluster: Cluster | None) -> int:
    """Searches under the study's lock; returns the exit status."""
    terminal.show_data(plan.facts)
    terminal.show_columns(plan.interactions.columns_read)
    terminal.show_split(plan.protocol, plan.split.notes)
    for remark in plan.interactions.remarks:
        _logger.warning("%s", remark)
    if plan.n_judges < FEW_USERS:
        _logger.warning(
            "trials are judged by %d users, which is few: the best of many may be best by luck; "
            "`python -m ncf data` tells what would find more",
            plan.n_judges,
        )
    options = replace(options, baselines=baselines.that_fit(options.baselines, plan))
    folder = RESULTS / "studies" / plan.study_name
    location = options.storage or str(RESULTS / "optuna.journal")
    storage = open_storage(location)
    wait_for_room(partial(folder.mkdir, parents=True, exist_ok=True), folder)
    n_jobs = options.jobs or workplace.n_cores(cluster)
    search = Search.of_this_process(plan.settings.n_trials, n_jobs)
    with lock_study(folder), sole(storage, location, plan.study_name, search) as lease:
        begun = journal.identity_of(storage, plan.study_name)
        plan = plan.begun_as(begun)
        lag = lag_of(options, recorded_lag(begun), n_jobs)
        plan = replace(plan, settings=replace(plan.settings, lag=lag))
        study = journal.open_study(storage, plan.study_name, plan.identity)
        terminal.show_full_ranking(full_ranking(plan))
        _remove_scratch(folder, is_new=begun is None)
        n_workers = _n_workers(options, lag, n_jobs)
        n_to_train = _n_to_train(study, plan)
        try:
            with workplace.working(
                cluster, study, plan, folder / "data", options.jobs, n_workers, n_to_train
            ) as workers:
                n_at_once = workers.n_idle
                events = begin(study, plan, workers, folder, options, stopper(lease))
                from ncf.commands.study import carry_out  # MLflow loads while the workers train

                return carry_out(study, plan, workers, folder, options, lease, n_at_once, events)
        finally:
            _remove_scratch(folder)


def _remove_scratch(folder: Path, is_new: bool = False) -> None:
    """Removes what a killed process may have left, but not weights and results for MLflow.

    These too where the study is new, of whose name there may have been another in the folder.
    """
    patterns = ["data", "*.part", ".*.*", "trial-model*", "refit*", "candidates.npz"]
    patterns += ["catalogue*.npz", *(["trial-*", "beside-*", "conclusion-*"] if is_new else [])]
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _n_to_train(study: optuna.Study, plan: Plan) -> int:
    """Returns how many trials are left to train; prints it if there is none."""
    trials = study.get_trials(deepcopy=False)
    n_open = sum(trial.state == TrialState.RUNNING for trial in trials)
    n_missing = plan.settings.n_trials - sum(map(journal.is_trained, trials))
    if n_missing <= 0 and n_open == 0:
        terminal.show_nothing_to_do(plan.study_name, plan.settings.n_trials)
    return max(n_missing, n_open)


def lag_of(options: Options, recorded: int | None, n_jobs: int) -> int:
    """Returns the lag of the study; tells of one that is longer than usual where it is begun.

    Args:
        options: The options of the command.
        recorded: The lag of the study, if it has been begun; `--lag` must be the same.
        n_jobs: The number of trials trained at once.
    """
    if recorded is not None:
        return options.lag or recorded
    lag = options.lag or lag_for(n_jobs)
    if options.lag is None and lag > SHORTEST_LAG:
        terminal.show_lag(lag, n_jobs)
    if options.trials < 3 * lag and lag > SHORTEST_LAG:
        _logger.warning(
            "--trials %d is few for a lag of %d, with which the first %d are random: give more "
            "trials, or a shorter --lag, with which fewer are trained at once",
            options.trials,
            lag,
            lag + N_RANDOM - 1,
        )
    return lag


def _n_workers(options: Options, lag: int, n_jobs: int) -> int:
    """Returns how many trials are trained at once; warns where `--jobs` asks for more."""
    if options.jobs is not None and options.jobs > lag:
        _logger.warning(
            "--jobs %d: at most %d trials can be trained at once, since a trial of this study is "
            "decided from the outcomes of those up to %d before it",
            options.jobs,
            lag,
            lag,
        )
    return min(n_jobs, lag)
