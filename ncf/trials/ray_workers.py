"""Workers that are tasks of a Ray cluster: the same protocol as the processes of `local.py`.

Ray decides on which node a task runs. What it does not do is done here: it goes on waiting for a
task on a node that hangs or has died, and for a process that is stopped. The task is then set back,
and the coordinator has it trained elsewhere. `ray_task.py` has what runs on the nodes.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, WorkerCrashedError

from ncf.trials import ray_task
from ncf.trials.data import TrialData
from ncf.trials.estimate import Estimate
from ncf.trials.messages import Event, Failure, Refit, Setback, Task
from ncf.trials.nodes import Node, installation, room
from ncf.trials.pulse import PATIENCE
from ncf.trials.ray_cluster import Cluster
from ncf.trials.ray_files import SentFiles, kept
from ncf.trials.ray_nodes import Processors, StoppedProcesses, call_on, check_nodes, in_short
from ncf.trials.ray_task import Begun, Finished, Job
from ncf.trials.worker import in_a_line

_LOOK_SECONDS = 1.0  # between two looks at the nodes that tasks run on
_NEWS_SECONDS = 3.0  # for a node to tell of itself where a process there has died
_REMOVAL_SECONDS = 15.0  # for the nodes to remove their scratch folders, in a new process each
_logger = logging.getLogger(__name__)


@dataclass
class _Running:
    """A task that Ray has, and what is known of it.

    Attributes:
        task: The task, with the coordinator's files.
        heard_at: When something was last heard of it.
        begun: Where it runs; None where it has not begun.
    """

    task: Task | Refit
    heard_at: float
    begun: Begun | None = None


class RayWorkers:
    """Tasks of a Ray cluster, of one thread each, for one search."""

    def __init__(
        self,
        cluster: Cluster,
        n_workers: int,
        data: TrialData,
        one: Estimate,
        tell_cpus: Callable[[list[str]], object] = lambda _: None,
        patience: float = PATIENCE,
    ) -> None:
        """Gives the cluster the data, and checks that its nodes compute alike.

        Args:
            cluster: The cluster.
            n_workers: The most tasks at a time.
            data: The data of all tasks.
            one: What a task takes.
            tell_cpus: Is called with the kinds of processors, where there are several.
            patience: Seconds after which a process that is stopped is ended.

        Raises:
            ValueError: A node has other versions than this machine.
        """
        self._cluster = cluster
        self._n_workers = n_workers
        self._one = one
        self._patience = patience
        self._running: dict[Any, _Running] = {}  # by the generator of its messages
        self._not_started: list[Event] = []  # of tasks whose files could not be read
        self._stopped = StoppedProcesses(patience)
        self._looked_at = 0.0
        self._files = SentFiles()
        self._processors = Processors(tell_cpus)
        self._gone: set[str] = set()  # nodes that have died, which the cluster may not know yet
        self._has_room = True
        self._job = ray.put(Job(secrets.token_hex(6), installation()))
        self._train = ray.remote(ray_task.train).options(
            num_cpus=1,
            memory=one.n_bytes,
            max_retries=0,
            num_returns="streaming",
            scheduling_strategy="SPREAD",
        )
        self._processors.note(check_nodes([node for node in cluster.nodes if node.n_cpus]))
        # Plain arrays: of mapped ones Ray would copy the content into each process.
        self._data = ray.put({name: np.asarray(array) for name, array in data.arrays.items()})

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        with suppress(ConnectionError, RayError):
            nodes = self._cluster.nodes  # at first: without a connection Ray would start a cluster
            for messages in self._running:
                ray.cancel(messages, force=True)
            removals = call_on(nodes, ray_task.remove_scratch, self._job)
            ray.wait([*removals.values()], num_returns=len(removals), timeout=_REMOVAL_SECONDS)
        self._running.clear()

    @property
    def n_idle(self) -> int:
        """The number of tasks that can begin now, on the nodes that are alive."""
        most = min(self._n_workers, room(self._nodes, self._one))
        if self._has_room and not most:
            _logger.warning("no node of the cluster is left to train on; waiting for one")
        self._has_room = most > 0
        return max(0, most - len(self._running) - len(self._not_started))

    @property
    def _nodes(self) -> list[Node]:
        """The nodes that are alive."""
        return [node for node in self._cluster.nodes if node.id not in self._gone]

    def submit(self, task: Task | Refit) -> None:
        """Hands the task to the cluster; `n_idle` must not be 0."""
        try:
            beside = self._files.send(task.beside)
        except OSError as error:
            self._not_started.append(Setback(task.number, in_a_line(error)))
            return
        bare = replace(task, beside=None)
        messages = self._train.remote(bare, self._data, beside, self._job)
        self._running[messages] = _Running(task, time.monotonic())

    def receive(self, timeout: float | None = None) -> list[Event]:
        """Returns what has happened, waiting up to `timeout` seconds for something, or for ever.

        Raises:
            ConnectionError: The cluster does not answer.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        events, self._not_started = self._not_started, []
        while True:
            if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
                self._looked_at = time.monotonic()
                events += self._look()
            left = 0.0 if events else max(0.0, end - time.monotonic())
            for messages in self._wait(min(left, _LOOK_SECONDS)):
                events += self._take(messages)
            if events or time.monotonic() >= end:
                return events

    def _wait(self, seconds: float) -> list[Any]:
        """Returns the generators that have a message here, waiting for the first one."""
        all_ = [*self._running]
        if not all_:
            time.sleep(seconds)
            return []
        # What is ready must have come to this machine, which is the default: to fetch it later from
        # a node that hangs would wait for ever.
        ready, others = ray.wait(all_, timeout=seconds)
        if ready and others:
            ready += ray.wait(others, num_returns=len(others), timeout=0)[0]
        return list(ready)

    def _take(self, messages: Any) -> list[Event]:
        """Receives one message of a task; returns the event that it is, if it is one."""
        running = self._running[messages]
        try:
            message = ray.get(next(messages))
        except StopIteration:
            return self._set_back(messages, "its process said nothing of its outcome")
        except (WorkerCrashedError, OutOfMemoryError) as error:
            return self._bury(messages, error)
        except NodeDiedError:
            return self._lose_node(messages)
        except RayError as error:
            return self._set_back(messages, in_short(error))
        running.heard_at = time.monotonic()
        match message:
            case Begun():
                running.begun = message
                self._processors.note({message.cpu})
                return []
            case Finished():
                del self._running[messages]
                return [kept(message, running.task)]
            case Failure() | Setback():
                del self._running[messages]
                return [message]
            case _:
                return [message]

    def _bury(self, messages: Any, error: RayError) -> list[Event]:
        """Returns what the death of a task's process means, which depends on how it came about."""
        running = self._running[messages]
        begun = running.begun
        nodes = {node.id: node for node in self._nodes}
        # Asked itself, since the cluster may take ten seconds to notice.
        if begun is None or begun.node not in nodes or not nodes[begun.node].answers(_NEWS_SECONDS):
            return self._lose_node(messages)
        if self._stopped.has_ended(begun.node, begun.pid, _NEWS_SECONDS):
            return self._set_back(
                messages, f"its worker, process {begun.pid}, gave no sign of life and was ended"
            )
        del self._running[messages]
        reason = "it was killed (out of memory?)"
        if isinstance(error, OutOfMemoryError):
            reason = "Ray ended it, since its node had no memory left"
        return [Failure(running.task.number, f"worker died: {reason}", died=True)]

    def _lose_node(self, messages: Any) -> list[Event]:
        """Returns what the death of a task's node means for it."""
        if begun := self._running[messages].begun:
            self._gone.add(begun.node)
        return self._set_back(messages, f"its node{f' {begun.host}' if begun else ''} has died")

    def _set_back(self, messages: Any, reason: str) -> list[Event]:
        return [Setback(self._running.pop(messages).task.number, reason)]

    def _look(self) -> list[Event]:
        """Returns what becomes of tasks on nodes that have died; has the others look at theirs."""
        events: list[Event] = []
        alive = {node.id: node for node in self._nodes}
        silent: dict[str, list[int]] = defaultdict(list)
        for messages, running in [*self._running.items()]:
            if (begun := running.begun) is None:
                continue
            if begun.node not in alive:
                with suppress(RayError):  # a process may outlive its node, and would train on
                    ray.cancel(messages)
                events += self._set_back(messages, f"its node {begun.host} has died, or hangs")
            elif time.monotonic() - running.heard_at > self._patience:
                silent[begun.node].append(begun.pid)
        self._stopped.look(alive, silent)
        return events
