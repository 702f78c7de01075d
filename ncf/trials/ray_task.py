"""What runs on the nodes of a Ray cluster: a task, and what looks after the processes of tasks.

Ray calls these functions in processes of its own, of which each trains many tasks of one search.
They read their data in Ray's object store, which all processes of a node share. A node's scratch
folder holds what its processes keep for one another; nothing in it is needed afterwards.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
import ray
from numpy.typing import NDArray

from ncf.data.files import write_whole
from ncf.trials.data import TrialData
from ncf.trials.messages import EpochReport, Failure, Outcome, Refit, Setback, Task
from ncf.trials.nodes import check_alike, cpu_name, installation
from ncf.trials.worker import carry_out, in_a_line, load_kernels

_LOOK_SECONDS = 1.0  # between two looks at a process that may be stopped
_IN_USE = "in-use"  # the file of a scratch folder that the processes which use it have locked


@dataclass(frozen=True)
class Job:
    """What the tasks of one search have in common.

    Attributes:
        key: Names the search among all of the cluster.
        installation: The installation of the coordinator.
    """

    key: str
    installation: Mapping[str, str]


@dataclass(frozen=True)
class Beside:
    """A file of the coordinator's machine that a task needs.

    Attributes:
        name: Names its content.
        content: Its bytes.
    """

    name: str
    content: bytes


@dataclass(frozen=True)
class Begun:
    """A process has begun with a task.

    Attributes:
        node: The id of its node.
        host: The name of that machine.
        pid: Its number there.
        cpu: The kind of processor that it compiles for.
    """

    node: str
    host: str
    pid: int
    cpu: str


@dataclass(frozen=True)
class Finished:
    """A task's outcome, and the content of the file of weights that it asked for."""

    outcome: Outcome
    weights: NDArray[np.uint8] | None


Message = Begun | EpochReport | Finished | Failure | Setback
_data: dict[str, TrialData] = {}  # of the searches that this process has trained for
_in_use: dict[Path, IO[bytes]] = {}  # the scratch folders that this process has locked


def train(
    task: Task | Refit, arrays: Mapping[str, NDArray[Any]], beside: Beside | None, job: Job
) -> Iterator[Message]:
    """Yields what happens to a task, in the process of a node.

    Args:
        task: The task; it has a file of weights if these are asked for, under any name.
        arrays: The arrays of its `TrialData`.
        beside: The model that a mixture is of.
        job: The search.
    """
    yield Begun(_node(), platform.node(), os.getpid(), cpu_name())
    try:
        data, folder = _prepare(arrays, job)
        weights = None if task.weights is None else folder / f"weights-{os.getpid()}"
        files: dict[str, Any] = {"weights": weights, "beside": _file_of(beside, folder)}
        task = replace(task, **files)
    except Exception as error:
        yield Setback(task.number, in_a_line(error), traceback.format_exc())
        return
    for event in carry_out(task, data):
        yield Finished(event, _taken(weights)) if isinstance(event, Outcome) else event


def _prepare(arrays: Mapping[str, NDArray[Any]], job: Job) -> tuple[TrialData, Path]:
    """Returns the data of a search and its scratch folder here, at first after some checks."""
    folder = _scratch(job)
    if job.key not in _data:
        check_alike(os.uname().nodename, installation(), job.installation)
        load_kernels(folder)
        _data[job.key] = TrialData.of(arrays, folder)
    return _data[job.key], folder


def _file_of(beside: Beside | None, folder: Path) -> Path | None:
    """Returns the file with a content that the coordinator has sent, which is written once."""
    if beside is None:
        return None
    file = folder / f"beside-{beside.name}"
    if not file.exists():
        write_whole(file, beside.content)
    return file


def _taken(file: Path | None) -> NDArray[np.uint8] | None:
    """Returns what is in a file, and removes it."""
    if file is None:
        return None
    content = np.fromfile(file, np.uint8)
    file.unlink()
    return content


# Scratch folders -------------------------------------------------------------------------------


def _scratch(job: Job) -> Path:
    """Returns the folder of a search on this node, made and kept from removal by this process."""
    folder = _folder_of(job)
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder not in _in_use:
        _in_use[folder] = (folder / _IN_USE).open("ab")
        fcntl.flock(_in_use[folder], fcntl.LOCK_SH)
    return folder


def _folder_of(job: Job) -> Path:
    # In the temporary folder itself, where nobody else can put another in its place.
    return Path(tempfile.gettempdir()) / f"{_prefix()}{job.key}-{_node()[:12]}"


def _prefix() -> str:
    return f"ncf-trials-{os.getuid()}-"


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def remove_scratch(job: Job) -> None:
    """Removes the scratch folder of a search that has ended."""
    shutil.rmtree(_folder_of(job), ignore_errors=True)


def remove_left_scratch() -> None:
    """Removes the scratch folders that searches have left which were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_prefix()}*"):
        if folder.lstat().st_uid != os.getuid():
            continue
        with suppress(OSError), (folder / _IN_USE).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


# Looking after ---------------------------------------------------------------------------------


def introduce() -> tuple[str, Mapping[str, str], str]:
    """Returns the name of this machine, its installation and its processor, at first contact."""
    remove_left_scratch()
    return os.uname().nodename, installation(), cpu_name()


def end_stopped(pids: Sequence[int], patience: float) -> list[int]:
    """Ends those processes of this node that are stopped, or wait for a disk that hangs.

    Args:
        pids: The processes.
        patience: Seconds for which one must have been so.

    Returns:
        The processes that were ended.
    """
    halted = {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_DISK_SLEEP}
    ended = []
    processes = []
    for pid in pids:
        with suppress(psutil.Error):
            processes.append(psutil.Process(pid))
    end = time.monotonic() + patience
    while processes and time.monotonic() < end:
        processes = [one for one in processes if _status(one) in halted]
        time.sleep(_LOOK_SECONDS)
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
            ended.append(process.pid)
    return ended


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.Error:
        return psutil.STATUS_DEAD
