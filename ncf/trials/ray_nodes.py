"""Calls on the nodes of a Ray cluster beside their tasks: first contact, and stopped processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ncf.trials import ray_task
from ncf.trials.nodes import Node, check_alike, installation

_INTRODUCTION_SECONDS = 120.0  # for a process to start on each node and to load the package
_ANSWER_SECONDS = 3.0  # for a node that is alive to accept a connection
_logger = logging.getLogger(__name__)


def call_on(
    nodes: Iterable[Node], function: Callable[..., object], *arguments: Any
) -> dict[str, Any]:
    """Calls a function on each node; returns Ray's references to the answers, by the nodes' ids."""
    return {
        node.id: _remote(function)
        .options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )
        .remote(*arguments)
        for node in nodes
    }


@cache
def _remote(function: Callable[..., object]) -> Any:
    """Returns Ray's form of a function, which the head is told of at the first call alone."""
    return ray.remote(function)


def check_nodes(nodes: Sequence[Node]) -> set[str]:
    """Checks that all nodes have the installation of this machine; returns their processors' kinds.

    Raises:
        ValueError: A node has another one, or cannot load it.
    """
    answers = call_on(nodes, ray_task.introduce)
    cpus = set()
    for node in nodes:
        try:
            host, there, cpu = ray.get(answers[node.id], timeout=_INTRODUCTION_SECONDS)
        except RayError as error:
            if not node.answers(_ANSWER_SECONDS):
                continue  # it has just died, and the cluster will notice
            raise ValueError(
                f"node {node.host} of the cluster cannot run ncf-search: {in_short(error)}; "
                'install it there, pip install -e ".[cluster]", and start the node again'
            ) from error
        check_alike(host, there, installation())
        cpus.add(cpu)
    return cpus


class Processors:
    """The kinds of processors that nodes have; one may have joined late."""

    def __init__(self, tell: Callable[[list[str]], object]) -> None:
        """Takes what is called with the kinds, where there are several."""
        self._tell = tell
        self._kinds: set[str] = set()

    def note(self, kinds: set[str]) -> None:
        """Notes kinds of processors, and warns where they make several."""
        if kinds <= self._kinds:
            return
        self._kinds |= kinds
        if len(self._kinds) == 1:
            return
        _logger.warning(
            "the nodes have processors of several kinds (%s): a trial may differ in its last bits "
            "from node to node, and the search with it. NUMBA_CPU_NAME, set where the nodes are "
            "started, has numba compile the same code on all of them",
            ", ".join(sorted(self._kinds)),
        )
        self._tell(sorted(self._kinds))


class StoppedProcesses:
    """Finds the processes of tasks that are stopped, or hang, on nodes that are alive."""

    def __init__(self, patience: float) -> None:
        """Takes the seconds after which a process that is stopped is ended."""
        self._patience = patience
        self._looks: dict[str, Any] = {}  # of each node that looks now, the answer to come
        self._ended: set[tuple[str, int]] = set()  # the nodes and numbers of ended processes

    def look(self, alive: Mapping[str, Node], silent: Mapping[str, Sequence[int]]) -> None:
        """Has nodes look at their silent processes, and end those that are stopped.

        Args:
            alive: The nodes that are alive, by their ids.
            silent: The processes of each node of which nothing was heard for a while.
        """
        for node in [*self._looks]:
            self._collect(node, 0.0, node in alive)
        for node in silent.keys() - self._looks.keys():
            arguments = silent[node], self._patience
            self._looks |= call_on([alive[node]], ray_task.end_stopped, *arguments)

    def has_ended(self, node: str, pid: int, seconds: float) -> bool:
        """Returns whether a process was ended since it was stopped, if its node says so in time."""
        if node in self._looks:
            self._collect(node, seconds, is_alive=True)
        return (node, pid) in self._ended

    def _collect(self, node: str, seconds: float, is_alive: bool) -> None:
        """Notes what a node has answered, if it has."""
        look = self._looks[node]
        if is_alive and not ray.wait([look], timeout=seconds)[0]:
            return
        del self._looks[node]
        if is_alive:
            with suppress(RayError):
                self._ended |= {(node, pid) for pid in ray.get(look)}


def in_short(error: RayError) -> str:
    """Returns what Ray says of an error in one line; of one that was raised there, that alone."""
    cause = getattr(error, "cause", None)
    told = str(error) if cause is None else f"{type(cause).__name__}: {cause}"
    return " ".join(told.split())[:300]
