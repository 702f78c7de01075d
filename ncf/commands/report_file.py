"""The file of a study's report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import optuna

from ncf.commands import progress
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
) -> Path:
    """Writes the study's report, one HTML file that needs no network; returns the file."""
    command = shlex.join(["python", *map(redacted, sys.argv)])
    code = tracker.source_tags.get("mlflow.source.git.commit", "(not known: no git)")
    file = folder / "report.html"
    with progress.working("writing the report"):
        write_whole(file, report_study(study, plan, conclusion, cost, code, command).encode())
    return file
