"""The file of a study's report."""

from __future__ import annotations

import shlex
import sys
from dataclasses import fields
from pathlib import Path

import optuna

from ncf.commands import progress
from ncf.commands.options import Options
from ncf.data.files import write_whole
from ncf.redaction import redacted
from ncf.report.page import report_study
from ncf.search.cost import Cost
from ncf.search.plan import Plan
from ncf.search.results import Conclusion
from ncf.tracking.tracker import Tracker


def write_report(
    study: optuna.Study,
    plan: Plan,
    conclusion: Conclusion,
    cost: Cost,
    tracker: Tracker,
    folder: Path,
    options: Options,
) -> Path:
    """Writes the study's report, one HTML file that needs no network; returns the file."""
    command = _command(options)
    code = tracker.source_tags.get("mlflow.source.git.commit", "(not known: no git)")
    file = folder / "report.html"
    with progress.working("writing the report"):
        write_whole(file, report_study(study, plan, conclusion, cost, code, command).encode())
    return file


def _command(options: Options) -> str:
    """Returns what searches this study again: the command line, or the call from Python."""
    if Path(sys.argv[0]).name == "search.py":
        return shlex.join(["python", *map(redacted, sys.argv)])
    usual = Options()
    given = {one.name: getattr(options, one.name) for one in fields(options)}
    words = [f"{name}={value!r}" for name, value in given.items() if value != getattr(usual, name)]
    return f"ncf.search({', '.join(map(redacted, words))})"
