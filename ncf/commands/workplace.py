"""Where the trials of a search are trained: in processes of this machine, or on a cluster.

Both give the same trials and metrics, so that a study can be continued on either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from ncf.commands import terminal
from ncf.commands.options import Options
from ncf.data.files import wait_for_room
from ncf.study.plan import Plan
from ncf.study.results import counted
from ncf.trials.estimate import check_fits, largest
from ncf.trials.local import LocalWorkers
from ncf.trials.nodes import check_room, room
from ncf.trials.workers import Workers

if TYPE_CHECKING:
    from ncf.trials.ray_cluster import Cluster


@contextmanager
def opened(options: Options) -> Iterator[Cluster | None]:
    """Connects to the cluster that the options name, while the body runs; to None for none.

    Raises:
        ValueError: There is no such cluster, or Ray is not installed.
    """
    if options.cluster is None:
        yield None
        return
    try:
        from ncf.trials.ray_cluster import connected
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ValueError(
            f"--cluster {options.cluster}: Ray is not installed; give `pip install -e "
            '".[cluster]"` here and on each node'
        ) from error
    with connected(options.cluster, options.jobs) as cluster:
        yield cluster


def n_cores(cluster: Cluster | None) -> int:
    """Returns the number of trials that the processors can train at once."""
    if cluster is None:
        return os.cpu_count() or 1
    return sum(node.n_cpus for node in cluster.nodes)


@contextmanager
def working(
    cluster: Cluster | None,
    study: optuna.Study,
    plan: Plan,
    data_folder: Path,
    jobs: int | None,
    n_workers: int,
    n_to_train: int,
) -> Iterator[Workers]:
    """Yields the workers of a search, which end with the body.

    Args:
        cluster: The cluster; None means this machine alone.
        study: The study, which notes of a cluster whether its nodes compute alike.
        plan: The plan of the study.
        data_folder: The folder for the data of the processes of this machine.
        jobs: The number of trials at once that a person asks for; None for none.
        n_workers: The most trials to train at once; without `jobs`, fewer where a cluster has not
            the memory for so many.
        n_to_train: The number of trials that are missing.

    Raises:
        ValueError: There is too little memory, or a node has another installation.
    """
    one = largest(plan.estimates)
    if cluster is None:
        n_at_once = min(n_workers, n_to_train)
        if n_at_once > 0:
            check_fits(one, n_workers)
            terminal.show_estimate(one, n_at_once)
        data_folder.mkdir(exist_ok=True)
        wait_for_room(partial(plan.trial_data.save, data_folder), data_folder)
        with LocalWorkers(n_workers, data_folder, n_at_once) as workers:
            yield workers
        return
    from ncf.trials.ray_workers import RayWorkers

    if jobs is None:
        n_workers = max(1, min(n_workers, room(cluster.nodes, one)))
    check_room(cluster.nodes, one, n_workers)
    if n_to_train > 0:
        where = f" on a cluster of {counted(len(cluster.nodes), 'node')}"
        terminal.show_estimate(one, min(n_workers, n_to_train), where)
    note_cpus = partial(study.set_user_attr, "cpus")
    with RayWorkers(cluster, n_workers, plan.trial_data, one, note_cpus) as workers:
        yield workers
