"""Measures the speeds in experiments/RESULTS.md: `python experiments/benchmarks/run.py [PART ...]`.

Prints one table, and writes it as JSON with the machine's facts. These are benchmarks, not tests:
nothing fails when a goal is missed. A ratio is of two numbers that were measured in this run, and
is what to look at on a machine that does other work too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measurement import ROOT, Row, Setup

PARTS = {
    "kernel": ("kernel", "measure"),
    "adam": ("adam", "measure"),
    "jobs": ("search_time", "measure_jobs"),
    "budget": ("search_time", "measure_budget"),
    "budget1m": ("search_time", "measure_budget_1m"),
    "ranking": ("ranking", "measure"),
    "lists": ("lists", "measure"),
    "registered": ("registered", "measure"),
    "scale": ("scale", "measure"),
    "scale100m": ("scale", "measure_100m"),
    "quality": ("quality", "measure"),
    "sasrec": ("quality", "measure_sasrec"),
}
OPTIONAL = ("scale100m",)  # not run unless it is named
PEERS = ("recbole", "cornac", "irspack")
HEADER = ("part", "what", "value", "unit", "reference", "ratio", "goal")


def main() -> None:
    """Runs the parts that are named, or all but the optional ones."""
    options = _options()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        os.environ["NCF_CACHE_HOME"] = folder  # prepared data are part of what is measured
        pythons = {peer: path for peer in PEERS if (path := getattr(options, f"{peer}_python"))}
        setup = Setup(Path(folder), options.quick, pythons, options.csv)
        for part in options.parts or [part for part in PARTS if part not in OPTIONAL]:
            print(f"{part} ...", flush=True)
            measured = _measure(part)(setup)
            print(_table(measured), flush=True)
            rows += measured
    print("\n" + _table(rows))
    if options.json:
        record = {"machine": machine(), "quick": options.quick, "rows": list(map(_record, rows))}
        options.json.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    cpu = platform.processor()
    if (facts := Path("/proc/cpuinfo")).exists():
        lines = facts.read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    packages = ("numpy", "torch", "numba", "scipy", "pyarrow", "pandas", "optuna", "mlflow")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures speed, memory and time to quality.")
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    add("--json", type=Path, metavar="OUT", help="file for the numbers and the machine's facts")
    add("--quick", action="store_true", help="small and short: does all of it run?")
    add("--csv", type=Path, help="a file made by generate.py --preset latest, not a new one")
    add("--folder", type=Path, help="where the temporary folder goes (default: the system's)")
    for peer in PEERS:
        add(f"--{peer}-python", type=Path, metavar="PATH", help=f"python that has {peer}")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    return options


def _measure(part: str) -> Callable[[Setup], list[Row]]:
    # Late, and by name: a process that is started to measure memory begins without all of this.
    module, function = PARTS[part]
    measure: Callable[[Setup], list[Row]] = getattr(import_module(module), function)
    return measure


def _record(row: Row) -> dict[str, Any]:
    return {
        name: None if value == math.inf else value  # JSON has no infinity
        for name, value in asdict(row).items()
    }


def _table(rows: list[Row]) -> str:
    lines = [HEADER, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio in (None, math.inf) else f"{row.ratio:.3g}"
    value = "never" if row.value == math.inf else f"{row.value:.4g}"
    return row.part, row.what, value, row.unit, row.reference, ratio, row.goal


if __name__ == "__main__":
    main()
