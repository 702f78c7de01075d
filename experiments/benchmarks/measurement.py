"""What the parts of the benchmarks share: their setup, their rows, and fresh processes."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Setup:
    """What the parts are given.

    Attributes:
        folder: Where generated data and searches go; it is removed at the end.
        quick: Small data and few repeats, to see that all runs; the numbers mean little.
        pythons: Interpreter of each peer's own environment, by the peer's name; a peer that is not
            in it is skipped.
        csv: A generated file to use in place of a new one.
    """

    folder: Path
    quick: bool
    pythons: Mapping[str, Path]
    csv: Path | None = None


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        part: Name of the part.
        what: What was measured.
        value: The number, a median where it was repeated; infinity is never.
        unit: Its unit.
        reference: What it is compared with.
        ratio: How many times the reference the value is.
        goal: What it should be.
        details: Repeats, curves and settings, for the JSON file only.
    """

    part: str
    what: str
    value: float
    unit: str
    reference: str = ""
    ratio: float | None = None
    goal: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, int]:
    """Returns what `function` returned in a process of its own, and that process's peak in MB.

    All that it had in memory counts, libraries and mapped files that were read with it.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        result = pool.submit(function, *args, **kwargs).result()
        return result, pool.submit(peak_megabytes).result()


def run_peer(setup: Setup, peer: str, *arguments: str) -> dict[str, Any] | None:
    """Returns what `peer_NAME.py` printed; None where its environment is not given."""
    python = setup.pythons.get(peer)
    if python is None:
        return None
    done = subprocess.run(
        [str(python), "-W", "ignore", str(HERE / f"peer_{peer}.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=setup.folder,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"peer_{peer}.py failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def peak_megabytes() -> int:
    """Returns the most memory that this process has had in use, as Linux knows it."""
    # Not `getrusage`: its peak is inherited from the parent.
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) // 1000


def forget_peak() -> None:
    """Lets `peak_megabytes` start again from what is in use now."""
    Path("/proc/self/clear_refs").write_text("5")
