"""The first trials of a search, which begin before MLflow is loaded and opened: that takes seconds.

What they report waits in the workers' pipes. Where the store then cannot be opened, the search ends
with them, and the next search of the study begins with the same trials.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from ncf.commands import interrupt
from ncf.commands.options import Options
from ncf.study.coordinator import Coordinator, Event, Space, weights_in
from ncf.study.plan import Plan
from ncf.trials.workers import Workers

if TYPE_CHECKING:
    from ncf.study.lease import Lease


def begin(
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    folder: Path,
    options: Options,
    is_stopped: Callable[[], bool],
) -> Iterator[Event]:
    """Hands the first trials to the workers; returns the events of the whole search.

    Args:
        study: The study's record.
        plan: The plan of the study.
        workers: The workers that train, all of them idle.
        folder: The study's folder.
        options: The options of the command.
        is_stopped: Returns whether to stop as soon as each running trial has ended its epoch.
    """
    settings = plan.settings
    space = Space(
        "trial",
        plan.experiment.defaults,
        plan.experiment.search_space,
        settings.seed,
        settings.n_trials,
        settings.prune,
        settings.timeout,
        partial(weights_in, folder),
    )
    n_first = min(workers.n_idle, settings.n_trials) if _can_begin(study, options) else 0
    events = Coordinator(study, space, plan).run(workers, is_stopped)
    first = [*islice(events, n_first)]  # no outcome is waited for, as these are decided from none
    return chain(first, events)


def _can_begin(study: optuna.Study, options: Options) -> bool:
    """Returns whether trials may begin before MLflow's store is open.

    A study that has trials may have to train some again first, which the store tells. And the
    address of a server may be wrong, which is to be told before anything is trained.
    """
    uri = options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:"
    return uri.startswith("sqlite:") and not study.get_trials(deepcopy=False)


def stopper(lease: Lease | None) -> Callable[[], bool]:
    """Returns a function that tells whether a signal has come, and raises where the lease is lost.

    Args:
        lease: What keeps other machines from the study; None where its record is a file here.
    """

    def is_stopped() -> bool:
        if lease is not None:
            lease.check()
        return interrupt.has_come()

    return is_stopped
