"""Trials on a real Ray cluster of two nodes: what they compute, and what they outlast. Slow.

Both nodes are processes of this machine, with a processor each. Ray is an extra, without which
these tests are skipped: `pip install -e ".[test,cluster]" && pytest -m slow tests/trials`.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from ncf.commands.command_line import parse
from ncf.commands.search import run
from ncf.protocol.seeds import Purpose, spawn
from ncf.trials import trial
from ncf.trials.data import TrialData
from ncf.trials.estimate import Estimate
from ncf.trials.messages import EpochReport, Event, Failure, Outcome, Refit, Setback
from tests.conftest import COMMON, PROJECT, planted, write_interactions
from tests.studies import results_of, runs_of, study_of
from tests.trials.test_local import ADAM, SGD, endless, task_of, without_times

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[cluster]"')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="stops and kills processes by their names"),
]
DEADLINE = 300.0  # seconds; for a test that hangs: to start a process takes many on a busy machine
ONE = Estimate(n_bytes=1 << 20, n_shared_bytes=1 << 20, seconds_per_epoch=0.0)
NODE = {
    "num_cpus": 1,
    "object_store_memory": 100 << 20,
    "include_dashboard": False,
    "include_log_monitor": False,
}
# So that a node that hangs counts as dead after 13 seconds, in place of a minute.
CHECKS = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 4000,
    "health_check_failure_threshold": 3,
}


@dataclass
class Nodes:
    """A cluster of two nodes, of which tests lose the second.

    Attributes:
        cluster: Ray's cluster, with the first node, its head.
        second: The second node; None where a test has lost it.
    """

    cluster: Any
    second: Any

    @property
    def address(self) -> str:
        """The address of the head."""
        return str(self.cluster.address)

    @property
    def head(self) -> Any:
        """The first node."""
        return self.cluster.head_node


def patiently(start: Callable[[], Any]) -> Any:
    """Returns what starts a node, to which Ray gives half a minute, whatever else runs here."""
    for _ in range(5):
        before = psutil.Process().children()
        try:
            return start()
        except Exception:  # Ray raises that itself
            for process in psutil.Process().children():
                if process not in before:  # it would join the cluster later
                    process.kill()
    return start()


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """The temporary folder of the nodes."""
    folder = Path(tempfile.mkdtemp(prefix="ncf-"))  # a short path, as Ray's sockets need one
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def nodes(scratch: Path) -> Iterator[Nodes]:
    from ray.cluster_utils import Cluster

    head = NODE | {"_system_config": CHECKS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(scratch))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        yield Nodes(cluster, patiently(lambda: cluster.add_node(**NODE)))
        ray.shutdown()  # where the last test has left it
        cluster.shutdown()
        for process in training(scratch):
            process.kill()


@pytest.fixture(scope="module")
def workers(nodes: Nodes, trial_data: TrialData, scratch: Path) -> Iterator[Any]:
    """Workers that every test leaves idle; where a search was killed that left its scratch."""
    from ncf.trials.ray_cluster import connected
    from ncf.trials.ray_workers import RayWorkers

    left = scratch / f"ncf-trials-{os.getuid()}-0123-4567"
    left.mkdir()
    (left / "spectral-8.npy").touch()
    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = [*map(signal.getsignal, signals)]
    with connected(nodes.address, patience=10.0) as connection:
        assert [*map(signal.getsignal, signals)] == handlers
        with RayWorkers(connection, 2, trial_data, ONE, patience=3.0) as started:
            assert not left.exists()
            yield started


@pytest.fixture
def both(nodes: Nodes, workers: Any) -> Any:
    """The workers, on two nodes: in place of one that was lost, another joins."""
    if nodes.second is None:
        nodes.second = patiently(lambda: nodes.cluster.add_node(**NODE))
        wait_until(lambda: workers.n_idle == 2)
    return workers


def training(scratch: Path) -> list[psutil.Process]:
    """Returns the processes that train now on nodes with this temporary folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_ours = process.environ().get("TMPDIR") == str(scratch)
            if is_ours and " ".join(process.cmdline()).startswith("ray::train"):
                found.append(process)
    return found


def trained_by(node: Any, scratch: Path) -> list[psutil.Process]:
    """Returns the processes that train now on a node that is alive."""
    raylets = {raylet.pid for raylet in processes_of(node, "raylet")}
    return [process for process in training(scratch) if process.ppid() in raylets]


def processes_of(node: Any, *names: str) -> list[psutil.Process]:
    """Returns Ray's own processes of a node: those of these names, or all."""
    return [
        psutil.Process(one.process.pid)
        for name, ones in node.all_processes.items()
        for one in ones
        if (not names or name in names) and one.process.poll() is None
    ]


def wait_until(holds: Callable[[], bool]) -> None:
    """Waits for a state."""
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def until_ended(workers: Any, n: int = 1) -> list[Event]:
    """Returns the events until so many tasks have ended, whether well or not."""
    events: list[Event] = []

    def have_ended() -> bool:
        events.extend(workers.receive(timeout=1.0))
        return sum(not isinstance(event, EpochReport) for event in events) >= n

    wait_until(have_ended)
    return events


def begin(workers: Any, folder: Path, numbers: set[int]) -> None:
    """Has nodes begin with tasks that do not end, one each."""
    for number in numbers:
        workers.submit(endless(number, folder))
    begun: set[int] = set()

    def have_begun() -> bool:
        for event in workers.receive(timeout=1.0):
            assert isinstance(event, EpochReport)
            begun.add(event.number)
        return begun == numbers

    wait_until(have_begun)


def test_an_address_where_nothing_answers_is_refused_at_once() -> None:
    from ncf.trials.ray_cluster import connected

    for address, reason in (
        ("127.0.0.1:1", "nothing answers there"),
        ("ray://127.0.0.1:10001", "give local, auto, or HOST:PORT"),
        ("head", "give local, auto, or HOST:PORT"),
    ):
        with pytest.raises(ValueError, match=reason), connected(address):
            pass


EIGHT = ("--trials", "8", "--confirm", "1", "--confirm-seeds", "2", "--no-register")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("person")
    write_interactions(planted(n_users=1200, n_items=160, seed=0), made / "shop.csv")
    return made


def test_a_search_on_two_nodes_is_that_of_this_machine(
    nodes: Nodes, folder: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    options = [*COMMON, *EIGHT, "--baselines", "popularity,mixture", "--quiet"]
    assert run(parse([*options, "--study", "here", "--jobs", "2"])) == 0
    assert run(parse([*options, "--study", "there", "--cluster", nodes.address])) == 0
    here, there = study_of(folder, "here"), study_of(folder, "there")
    assert results_of(there) == results_of(here)
    for name in ("confirmation", "conclusion"):
        assert metrics_in(there.user_attrs[name]) == metrics_in(here.user_attrs[name])
    assert "cpus" not in there.user_attrs  # of one kind
    _, runs = runs_of(MlflowClient("sqlite:///mlruns/mlflow.db"), "here")
    assert run(parse(["--repeat", runs[3].info.run_id, "--cluster", nodes.address])) == 0
    assert "came out equal, bit for bit" in capsys.readouterr().out
    wait_until(lambda: training(scratch) == [])


def metrics_in(value: Any) -> list[Any]:
    """Returns all metrics in a record, in its order."""
    if isinstance(value, dict):
        return [(k, v) if "metrics" in k else metrics_in(v) for k, v in sorted(value.items())]
    return [metrics_in(one) for one in value] if isinstance(value, list) else []


def test_ctrl_c_lets_the_epochs_end_and_leaves_no_process_on_the_nodes(
    nodes: Nodes, folder: Path, scratch: Path
) -> None:
    options = [*COMMON, "--study", "stopped", "--trials", "500", "--baselines", "none"]
    with subprocess.Popen(
        [sys.executable, PROJECT / "search.py", *options, "--cluster", nodes.address],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        wait_until(lambda: process.poll() is not None or len(training(scratch)) >= 2)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + signal.SIGINT
    assert "Interrupted." in output
    wait_until(lambda: training(scratch) == [])
    assert 2 <= len(study_of(folder, "stopped").get_trials()) < 500


def test_nodes_compute_what_this_process_computes(
    both: Any, trial_data: TrialData, tmp_path: Path
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    assert both.n_idle == 2
    for number, setting in enumerate([SGD, ADAM]):
        both.submit(task_of(number, there, setting=setting))
    assert both.n_idle == 0
    events = until_ended(both, 2)
    for number, setting in enumerate([SGD, ADAM]):
        task = task_of(number, here, setting=setting)
        expected = [*map(without_times, trial.run(task, trial_data))]
        assert [without_times(one) for one in events if one.number == number] == expected
        assert task.weights is not None
        assert (there / task.weights.name).read_bytes() == task.weights.read_bytes()
    refits = [Refit(4, SGD, spawn(3, Purpose.REFIT), 3, "cpu", f / "refit") for f in (there, here)]
    both.submit(refits[0])
    both.submit(task_of(5, there, setting=SGD, beside=tmp_path / "missing"))
    setback, outcome = sorted(map(without_times, until_ended(both, 2)), key=str, reverse=True)
    assert outcome == without_times(trial.refit(refits[1], trial_data))
    assert (there / "refit").read_bytes() == (here / "refit").read_bytes()
    assert isinstance(setback, Setback)
    assert "No such file" in setback.reason
    assert both.n_idle == 2


def test_a_killed_worker_is_a_failure_and_a_stopped_one_is_ended(
    nodes: Nodes, both: Any, scratch: Path, tmp_path: Path
) -> None:
    begin(both, tmp_path, {4, 5})
    (killed,) = trained_by(nodes.head, scratch)
    (stopped,) = trained_by(nodes.second, scratch)
    killed.kill()
    stopped.suspend()
    ends = [one for one in until_ended(both, 2) if not isinstance(one, EpochReport)]
    failure, setback = sorted(ends, key=lambda one: isinstance(one, Setback))
    assert isinstance(failure, Failure)
    assert failure.died
    assert isinstance(setback, Setback)
    assert "gave no sign of life" in setback.reason
    assert {failure.number, setback.number} == {4, 5}
    assert psutil.wait_procs([killed, stopped], DEADLINE)[1] == []
    assert both.n_idle == 2
    assert [*tmp_path.iterdir()] == []  # no weights


@pytest.mark.parametrize("what", ["killed", "hung"])
def test_a_trial_of_a_lost_node_is_set_back_and_trained_elsewhere(
    what: str, nodes: Nodes, both: Any, scratch: Path, tmp_path: Path
) -> None:
    begin(both, tmp_path, {4, 5})
    (other,) = trained_by(nodes.head, scratch)
    lost = [*processes_of(nodes.second), *trained_by(nodes.second, scratch)]
    nodes.second = None
    try:
        for process in lost:
            process.kill() if what == "killed" else process.suspend()
        (setback,) = [one for one in until_ended(both) if not isinstance(one, EpochReport)]
        assert isinstance(setback, Setback)
        assert f"its node {platform.node()} has died" in setback.reason
        assert both.n_idle == 0  # there is one node now, which trains the other
        other.kill()
        until_ended(both)
        both.submit(task_of(setback.number, tmp_path))
        assert isinstance(until_ended(both)[-1], Outcome)
    finally:
        for process in lost:
            with suppress(psutil.Error):
                process.kill()


def test_a_head_that_hangs_ends_the_search(nodes: Nodes, workers: Any, tmp_path: Path) -> None:
    """Were it killed, Ray would end this very process a minute later."""
    begin(workers, tmp_path, {4})
    (head,) = processes_of(nodes.head, "gcs_server")
    # Another search has its Ctrl-C while the head hangs, before it is given up.
    code = "import sys\nfrom ncf.commands.output import leave\n"
    code += "from ncf.trials.ray_cluster import connected\n"
    code += "with connected(sys.argv[1]):\n    print(flush=True)\n    input()\nleave(7)\n"
    command = [sys.executable, "-c", code, nodes.address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline()
        head.suspend()
        try:
            with pytest.raises(ConnectionError, match="the same command goes on from here"):
                until_ended(workers)
            other.communicate(b"\n", timeout=DEADLINE)
        finally:
            head.resume()
            other.kill()
    assert other.returncode == 7
