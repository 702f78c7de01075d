"""The connection to a Ray cluster: its nodes, and whether it still answers.

Ray is an extra (`pip install -e ".[cluster]"`), so that only `--cluster` imports this.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray

from ncf.trials.nodes import Node
from ncf.trials.start import ENDING_SIGNALS, ONE_THREAD

LOCAL = "local"
PATIENCE = 30.0  # seconds without an answer; after 60 Ray itself would end this process
_ASK_SECONDS = 1.0  # between two questions for the nodes
_LONGEST_LOOK = 2.0  # seconds between two looks at what was answered that count as silence
is_left = False  # whether a thread still waits for a head, amid which Python's own end crashes
_CONNECT_SECONDS = 10.0  # for a head to answer, on which Ray would spend minutes


class Cluster:
    """A cluster that this process is connected to. A thread keeps its nodes up to date."""

    def __init__(self, address: str, patience: float) -> None:
        self._patience = patience
        context = ray.get_runtime_context()
        self._own_node = str(context.get_node_id())
        host, _, port = str(context.gcs_address).rpartition(":")
        self._address = address if address == LOCAL else f"{host}:{port}"
        self._head = host, int(port)
        self._nodes = _alive()
        self._silence = 0.0  # seconds since it last answered, as `nodes` has counted them
        self._looked_at = time.monotonic()
        self._closed = threading.Event()
        threading.Thread(target=self._ask, daemon=True, name="nodes of the cluster").start()

    @property
    def nodes(self) -> list[Node]:
        """The nodes that are alive.

        Raises:
            ConnectionError: The cluster does not answer, or has given this machine up.
        """
        now = time.monotonic()
        # Of more, only so many seconds count: this process may itself have been stopped, or busy.
        self._silence += min(now - self._looked_at, _LONGEST_LOOK)
        self._looked_at = now
        is_lost = self._own_node not in [node.id for node in self._nodes]
        if self._silence < self._patience and not is_lost and not self._closed.is_set():
            return self._nodes
        if not self._closed.is_set():
            self._give_up()
        why = f"has not answered for {self._patience:.0f} s"
        if is_lost:
            why = "has given up this machine's node"
        raise ConnectionError(
            f"the cluster {self._address} {why}, as if its head had ended or hung. What has "
            "ended is recorded: start the cluster again, and the same command goes on from here"
        )

    def close(self) -> None:
        """Disconnects; a head that hangs is left as it is, since Ray would wait for it for ever."""
        if self._closed.is_set():
            return
        answers = threading.Event()

        def ask() -> None:
            with suppress(Exception):
                _alive()
                answers.set()

        asking = threading.Thread(target=ask, daemon=True, name="whether the head answers")
        asking.start()
        asking.join(_CONNECT_SECONDS)
        if answers.is_set():
            self._closed.set()
            ray.shutdown()
        else:
            self._give_up()

    def _give_up(self) -> None:
        """Leaves a cluster that is lost, where Ray may wait for ever for an answer."""
        global is_left
        self._closed.set()
        atexit.unregister(ray.shutdown)
        is_left = True
        with suppress(OSError):
            try:
                socket.create_connection(self._head, _CONNECT_SECONDS).close()
            except ConnectionRefusedError:  # it has ended; where Ray is left, it ends this process
                ray.shutdown()

    def _ask(self) -> None:
        while not self._closed.wait(_ASK_SECONDS):
            with suppress(Exception):  # no answer: its age tells
                self._nodes = _alive()
                self._silence = 0.0


@contextmanager
def connected(
    address: str, n_cpus: int | None = None, patience: float = PATIENCE
) -> Iterator[Cluster]:
    """Connects to a cluster while the body runs.

    Args:
        address: "local" for one on this machine, that ends with the body; "HOST:PORT" of a head, of
            whose cluster this machine is a node; or "auto" for the one that runs on this machine.
        n_cpus: The CPUs of a local cluster; None means all.
        patience: Seconds without an answer after which the cluster counts as lost.

    Raises:
        ValueError: There is no such cluster, or it cannot be used.
    """
    options: dict[str, Any] = {"address": address}
    if address == LOCAL:
        options |= {"num_cpus": n_cpus, "include_dashboard": False}
        options |= {"_node_ip_address": "127.0.0.1"}
        _keep_to_ourselves()
    else:
        _check_address(address)
    handlers = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    try:
        ray.init(
            **options,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            runtime_env={"env_vars": ONE_THREAD},
        )
        cluster = Cluster(address, patience)
    except Exception as error:  # Ray raises that too, where a node does not start in time
        ray.shutdown()
        raise ValueError(
            f"--cluster {address}: {' '.join(str(error).split())[:400]}; see that it runs, "
            "that `ray start` has made this machine a node of it, and that RAY_AUTH_MODE and the "
            "token in ~/.ray/auth_token are the same here"
        ) from error
    except BaseException:
        ray.shutdown()
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray has put its own in place of ours
                signal.signal(number, handler)
    _silence()
    try:
        yield cluster
    finally:
        cluster.close()


def _alive() -> list[Node]:
    """Returns the nodes that are alive."""
    return [
        Node(
            one["NodeID"],
            one["NodeManagerHostname"],
            int(one["Resources"].get("CPU", 0)),
            int(one["Resources"].get("memory", 0)),
            int(one["Resources"].get("object_store_memory", 0)),
            (one["NodeManagerAddress"], one["NodeManagerPort"]),
        )
        for one in ray.nodes()
        if one["Alive"]
    ]


def _check_address(address: str) -> None:
    """Checks that something answers at an address.

    Raises:
        ValueError: It is no address, or nothing answers.
    """
    if ray.is_initialized():
        raise ValueError(
            f"--cluster {address}: this process is connected to Ray already; `ray.shutdown()` first"
        )
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal():
        raise ValueError(
            f"--cluster {address}: give local, auto, or HOST:PORT, the address that `ray start "
            "--head` has printed; this machine must be a node of that cluster"
        )
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ValueError(
            f"--cluster {address}: nothing answers there ({error}); start a cluster with "
            "`ray start --head`, and name the address that it prints"
        ) from error


def _keep_to_ourselves() -> None:
    """Gives a local cluster a token, which it asks for and would write to the home folder."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _silence() -> None:
    """Keeps Ray from printing pages of its own logs when a node dies, which we tell in a line."""
    ray._private.worker._worker_logs_enabled = False
