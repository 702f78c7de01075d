"""What MLflow is still to be told, by a thread of its own: a search never waits for MLflow.

An entry is a function that writes what MLflow lacks of one thing, and may be called any number of
times. One that fails goes to the end of the queue, after a pause that doubles with each failure.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ncf.models.gmf.setting import Hyperparameters
from ncf.redaction import one_line
from ncf.trials.messages import EpochReport, Failure, Outcome

if TYPE_CHECKING:  # MLflow takes a second to load, and the workers start meanwhile
    from ncf.tracking.logged_models import ModelFiles
    from ncf.tracking.tracker import Tracker

_logger = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds
_SLOWNESS = 10  # times the patience with failures is that with a long upload


class Mirror:
    """A queue of entries by name, and the thread that writes them."""

    def __init__(self) -> None:
        """Starts the thread; it ends with the process, whatever it is doing."""
        self._entries: dict[str, Callable[[], object]] = {}
        self._writing = ""  # the entry that is being written
        self._failing: dict[str, str] = {}  # entries whose last attempt failed, and why
        self._is_urgent = self._has_given_up = False
        self._changed = threading.Condition()
        self._wrote_at = 0.0
        # MLflow computes for tens of milliseconds, and the search's thread would wait for 5 of them
        # whenever it has something to do.
        sys.setswitchinterval(0.0005)
        threading.Thread(target=self._work, daemon=True, name="mlflow").start()

    def put(self, name: str, write: Callable[[], object]) -> None:
        """Adds an entry, in place of an unwritten one of the same name."""
        with self._changed:
            self._entries[name] = write
            self._changed.notify_all()

    def finish(self, patience: float, at_most: float = math.inf) -> str:
        """Waits until all is written, or gives up where nothing could be for `patience` seconds.

        Args:
            patience: Seconds; more, where a write takes long and none has failed.
            at_most: Seconds to wait, whatever is written meanwhile.

        Returns:
            What is not written and why; empty where all is.
        """
        with self._changed:
            self._wrote_at = time.monotonic()
            end = self._wrote_at + at_most
            self._is_urgent = True
            self._changed.notify_all()
            while missing := [*filter(None, dict.fromkeys([self._writing, *self._entries]))]:
                most = patience if self._failing else _SLOWNESS * patience
                left = min(self._wrote_at + most, end) - time.monotonic()
                if left <= 0:
                    self._has_given_up = True
                    names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
                    return f"{names}: {next(iter(self._failing.values()), 'no time')}"
                self._changed.wait(left)
        return ""

    def _work(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_urgent, pause)
                self._changed.wait_for(lambda: self._entries)
                if self._has_given_up:
                    return
                name = self._writing = next(iter(self._entries))
                write = self._entries.pop(name)
            try:
                write()
            except Exception as error:  # of whatever kind: the search goes on
                self._note_failure(name, write, one_line(error)[:300])
                pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                time.sleep(_FIRST_PAUSE)
            else:
                self._note_success(name)
                pause = 0.0

    def _note_failure(self, name: str, write: Callable[[], object], reason: str) -> None:
        with self._changed:
            if not self._failing:
                _logger.warning(
                    "MLflow could not be told of %s: %s. The search goes on, and it is tried again",
                    name,
                    reason,
                )
            self._entries.setdefault(name, write)  # unless there is a newer one
            self._failing[name] = reason
            self._writing = ""
            self._changed.notify_all()

    def _note_success(self, name: str) -> None:
        with self._changed:
            if self._failing.pop(name, None) is not None and not self._failing:
                _logger.warning("MLflow has been told all that it could not be")
            self._writing = ""
            self._wrote_at = time.monotonic()
            self._changed.notify_all()


@dataclass
class TrialRecord:
    """A trial as far as it is known, and how much of it MLflow has.

    Attributes:
        number: The trial.
        hyperparameters: What it trains.
        started_at: Seconds since 1970.
        reports: Of its epochs so far.
        end: How it ended, set when all its reports are there.
        is_interrupted: Whether it ended for reasons that are not its own.
        run_id: Its run, once there is one.
        n_written: Reports that the run has.
    """

    number: int
    hyperparameters: Hyperparameters
    started_at: float
    reports: list[EpochReport] = field(default_factory=list)
    end: Outcome | Failure | None = None
    is_interrupted: bool = False
    run_id: str = ""
    n_written: int = 0


def write_trial(record: TrialRecord, tracker: Tracker, models: ModelFiles) -> None:
    """Writes what MLflow lacks of a trial: an entry of the mirror."""
    end = record.end  # read before the reports, which go on while this writes
    if not record.run_id:
        record.run_id = tracker.start_trial(
            record.number, record.hyperparameters, record.started_at
        )
    params = {} if record.n_written else asdict(record.hyperparameters)
    reports = record.reports[record.n_written :]
    outcome = end if isinstance(end, Outcome) else None
    weights, model_id = models.weights(record.number), None
    if outcome and weights.exists():
        model_id = models.log(tracker, record.run_id, outcome, record.hyperparameters)
    tracker.log_trial(record.run_id, params, reports, outcome, model_id)
    record.n_written += len(reports)
    if isinstance(end, Failure):
        tracker.fail_trial(record.run_id, end, "interrupted" if record.is_interrupted else "failed")
    elif outcome:
        weights.unlink(missing_ok=True)  # at last: until then it can be logged again
