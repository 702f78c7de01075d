"""The end of a search: how long each kind of end waits for what MLflow lacks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ncf.commands import progress, terminal
from ncf.tracking.mirror import Mirror
from ncf.tracking.tracker import Tracker


@dataclass(frozen=True)
class End:
    """How a command ends, and how long it then waits for MLflow.

    Attributes:
        state: The state of the study's run in MLflow.
        patience: Seconds without a successful write after which MLflow is given up.
        at_most: Seconds to wait in all.
    """

    state: str
    patience: float
    at_most: float = math.inf


FINISHED = End("finished", patience=60.0)
FAILED = End("failed", patience=5.0)
STOPPED = End("interrupted", patience=5.0, at_most=20.0)  # in order, by a first signal
SUPERSEDED = End("", patience=0.0)  # another search has the study, and MLflow too
BROKEN_OFF = End("interrupted", patience=5.0, at_most=2.0)  # by a second Ctrl-C


def wait_for_mlflow(end: End, tracker: Tracker, mirror: Mirror) -> str:
    """Closes the study's run; returns what MLflow could not be given, and prints it.

    Args:
        end: How the command ends.
        tracker: Writes to MLflow.
        mirror: The queue of what MLflow lacks.
    """
    if end == SUPERSEDED:
        return ""
    mirror.put("the study's end", lambda: tracker.end_study(end.state))
    with progress.working("waiting for MLflow"):
        missing = mirror.finish(end.patience, end.at_most)
    if missing:
        terminal.show_missing(missing)
    return missing
