"""The nodes of a cluster: how many trials they have room for, and whether they compute alike.

Importing this loads nothing heavy, so that nodes and coordinator can do it before they know of one
another whether they have the same packages.
"""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ncf.trials.estimate import Estimate, in_gib

_PACKAGE = Path(__file__).parents[1]
_SOURCES = ("data", "protocol", "serving", "models", "trials")  # what a trial runs
_LIBRARIES = ("numpy", "numba", "scipy", "implicit", "torch")  # what it computes with


@dataclass(frozen=True)
class Node:
    """A node of a cluster.

    Attributes:
        id: What the cluster knows it by.
        host: Its name or address.
        n_cpus: The tasks of one thread that it runs at once.
        n_bytes: Its memory for tasks.
        n_shared_bytes: Its memory for what tasks share.
        address: Where it listens, host and port.
    """

    id: str
    host: str
    n_cpus: int
    n_bytes: int
    n_shared_bytes: int
    address: tuple[str, int] = ("", 0)

    def answers(self, seconds: float) -> bool:
        """Returns whether something listens at its address; it does so while it is alive."""
        try:
            socket.create_connection(self.address, seconds).close()
        except OSError:
            return False
        return True


def room(nodes: Sequence[Node], one: Estimate) -> int:
    """Returns how many trials the nodes can train at once, by their CPUs and their memory."""
    return sum(
        min(node.n_cpus, node.n_bytes // one.n_bytes)
        for node in nodes
        if one.n_shared_bytes <= node.n_shared_bytes
    )


def check_room(nodes: Sequence[Node], one: Estimate, n_workers: int) -> None:
    """Checks that the nodes have room for so many trials at once.

    Raises:
        ValueError: They have not.
    """
    most = room(nodes, one)
    if n_workers <= most:
        return
    sizes = "; ".join(
        f"{node.host} has {node.n_cpus} CPUs, {in_gib(node.n_bytes)} for tasks and "
        f"{in_gib(node.n_shared_bytes)} of object store"
        for node in nodes
    )
    raise ValueError(
        f"{n_workers} trials at once of up to {in_gib(one.n_bytes)} each, and on each node "
        f"{in_gib(one.n_shared_bytes)} of data in its object store: the cluster has room for "
        f"{most} ({sizes}); lower --jobs or the largest embedding_dim of the search space, or "
        "start nodes with more --num-cpus, --memory or --object-store-memory"
    )


@cache
def installation() -> Mapping[str, str]:
    """Returns what must be equal for two machines to compute alike, by name.

    It is Python's version, a digest of the code that trains, and the versions of what it computes
    with. The kind of the processor is not among it: see `cpu_name`.
    """
    digest = hashlib.sha256()
    for package in _SOURCES:
        for file in sorted((_PACKAGE / package).rglob("*.py")):
            digest.update(file.relative_to(_PACKAGE).as_posix().encode() + file.read_bytes())
    found = {
        "ncf-search": digest.hexdigest()[:12],
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    return found | {name: version(name) for name in _LIBRARIES}


def check_alike(host: str, there: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Checks that a node has the installation of the coordinator.

    Raises:
        ValueError: Something is different, which the message names.
    """
    different = [
        f"{name} {there.get(name, 'none')} in place of {here[name]}"
        for name in here
        if there.get(name) != here[name]
    ]
    if different:
        raise ValueError(
            f"node {host} has {', '.join(different)}: it would not compute what this machine "
            "computes; install the same there, and the same commit of ncf-search"
        )


def cpu_name() -> str:
    """Returns the kind of processor that numba compiles for here.

    Code for another kind may sum in another order, and so differ in the last bits. NUMBA_CPU_NAME,
    set where the nodes are started, makes it the same on all of them.
    """
    from llvmlite import binding

    return os.environ.get("NUMBA_CPU_NAME") or str(binding.get_host_cpu_name())
