"""Nodes of a cluster: room for trials, and whether they compute alike. No cluster is needed."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from ncf.commands import workplace
from ncf.commands.options import Options
from ncf.trials.estimate import Estimate
from ncf.trials.nodes import Node, check_alike, check_room, installation, room

GIB = 1 << 30
NODE = Node("a1", "first", n_cpus=4, n_bytes=10 * GIB, n_shared_bytes=3 * GIB)
TRIAL = Estimate(n_bytes=GIB, n_shared_bytes=2 * GIB, seconds_per_epoch=1.0)


def test_a_node_has_room_for_its_processors_and_its_memory() -> None:
    large = replace(TRIAL, n_bytes=4 * GIB)
    small_store = replace(NODE, n_shared_bytes=GIB)
    assert room([NODE], TRIAL) == 4  # the data are counted once, and in the store
    assert room([NODE], large) == 2
    assert room([NODE, NODE], large) == 4
    assert room([NODE, small_store], TRIAL) == 4  # which cannot hold the data
    assert room([NODE, replace(NODE, n_cpus=0)], TRIAL) == 4


def test_more_trials_than_there_is_room_for_are_refused_with_each_nodes_size() -> None:
    check_room([NODE], TRIAL, 4)
    with pytest.raises(ValueError, match=r"room for 4 \(first has 4 CPUs, 10.0 GiB.*lower --jobs"):
        check_room([NODE], TRIAL, 5)
    with pytest.raises(ValueError, match="--object-store-memory"):
        check_room([NODE], replace(TRIAL, n_shared_bytes=4 * GIB), 1)


def test_a_node_with_other_versions_is_named_with_them() -> None:
    here = installation()
    check_alike("first", dict(here), here)
    assert {"ncf-search", "python", "numpy", "numba", "torch"} <= set(here)
    there = {**here, "numpy": "1.0"}
    del there["scipy"]
    with pytest.raises(ValueError, match=r"node first has numpy 1\.0 in place of .*scipy none in"):
        check_alike("first", there, here)


def test_a_cluster_without_ray_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "ncf.trials.ray_cluster", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ValueError, match=r'pip install -e ".\[cluster\]"'),
        workplace.opened(Options(cluster="local")),
    ):
        pass
