"""The search: one coordinator decides, records and logs; worker processes train.

The journal is the record. MLflow mirrors it from a thread of its own, so that workers never wait
for it; what it lacks, after a kill or while it cannot be reached, is written from the journal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState

from ncf import journal
from ncf.experiment import Experiment, Hyperparameters
from ncf.messages import EpochReport, Failure, Outcome, Task
from ncf.proposals import is_decidable, known_outcomes, propose
from ncf.pruning import stopping_thresholds
from ncf.seeds import Purpose, spawn
from ncf.workers import LocalWorkers

if TYPE_CHECKING:  # MLflow takes a second to load, and the workers start meanwhile
    from ncf.models import ModelFiles
    from ncf.tracking import Tracker

T = TypeVar("T")
_logger = logging.getLogger(__name__)
_FLUSH_SECONDS = 2.5  # a batch of metrics at most this often
_MAX_FAILURES = 10  # in a row: then it is not the hyperparameters


@dataclass(frozen=True)
class Settings:
    """What a search needs beside its experiment.

    Attributes:
        n_trials: Trained trials that the study shall have in the end.
        seed: Seed of the study.
        k: Cut-off of the metrics.
        device: Device of "adam".
        timeout: Seconds after which no new trial starts.
        prune: Whether to stop trials early by the others' curves.
    """

    n_trials: int
    seed: int
    k: int
    device: str
    timeout: float | None
    prune: bool = True

    @property
    def objective(self) -> str:
        """The validation metric that is maximised."""
        return f"ndcg_{self.k}"


@dataclass(frozen=True)
class TrialStarted:
    """A trial was handed to a worker."""

    number: int
    hyperparameters: Hyperparameters


@dataclass(frozen=True)
class TrialEnded:
    """A trial is recorded."""

    trial: FrozenTrial


@dataclass
class _Running:
    trial: optuna.Trial
    hyperparameters: Hyperparameters
    run_id: Future[str]
    reports: list[EpochReport] = field(default_factory=list)
    n_flushed: int = 0
    flushed_at: float = field(default_factory=time.monotonic)


class Coordinator:
    """Runs the trials of a study; the only one that talks to Optuna and to MLflow."""

    def __init__(
        self,
        study: optuna.Study,
        tracker: Tracker,
        experiment: Experiment,
        settings: Settings,
        models: ModelFiles,
    ) -> None:
        """Takes over the study; trials that a kill left running come first."""
        trials = study.get_trials(deepcopy=False)
        self._study = study
        self._tracker = tracker
        self._experiment = experiment
        self._settings = settings
        self._models = models
        self._running: dict[int, _Running] = {}
        self._again = [trial for trial in trials if trial.state == TrialState.RUNNING]
        self._died: set[int] = set()
        self._n_failures = 0
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")
        self._has_warned = False

    def run(self, workers: LocalWorkers) -> Iterator[TrialStarted | EpochReport | TrialEnded]:
        """Yields what happens until the study has its trials, or the time is over.

        Raises:
            RuntimeError: Too many trials failed in a row.
        """
        ended = self._ended()
        self._write(lambda: self._mirror(ended))
        started_at = time.monotonic()
        timeout = self._settings.timeout
        try:
            while True:
                is_late = timeout is not None and time.monotonic() - started_at > timeout
                while workers.n_idle and (begun := self._next(is_late)) is not None:
                    yield self._start(*begun, workers)
                if not self._running:
                    break
                for event in workers.receive():
                    yield from self._handle(event)
            self._write(lambda: self._mirror(self._ended()))  # a second try at what was not written
        finally:
            for number, running in self._running.items():
                self._close(running, Failure(number, "the search was interrupted"), "interrupted")
            self._writer.shutdown()

    # Deciding

    def _next(self, is_late: bool) -> tuple[FrozenTrial, Hyperparameters] | None:
        if self._again:
            trial = self._again.pop(0)
            return trial, Hyperparameters(**trial.user_attrs["hyperparameters"])
        trials = self._trials()
        n_open = len(self._running) + sum(map(journal.is_trained, trials))
        if is_late or n_open >= self._settings.n_trials or not is_decidable(trials, len(trials)):
            return None
        e = self._experiment
        hyperparameters, proposal = propose(
            e.name, e.defaults, e.search_space, trials, self._settings.seed
        )
        proposal.set_user_attr("hyperparameters", asdict(hyperparameters))
        self._study.add_trial(proposal)
        return self._trials()[-1], hyperparameters

    def _start(
        self, frozen: FrozenTrial, hyperparameters: Hyperparameters, workers: LocalWorkers
    ) -> TrialStarted:
        number = frozen.number
        known = known_outcomes(self._trials(), number)
        curves = [list(t.intermediate_values.values()) for t in known if journal.is_trained(t)]
        epochs = self._experiment.epochs
        workers.submit(
            Task(
                number,
                hyperparameters,
                spawn(self._settings.seed, Purpose.TRIAL, number),
                epochs,
                self._experiment.patience,
                self._settings.k,
                self._settings.device,
                stopping_thresholds(curves if self._settings.prune else [], epochs),
                self._models.weights(number),
            )
        )
        at = time.time()
        run_id = self._write(lambda: self._tracker.start_trial(number, hyperparameters, at))
        trial = optuna.Trial(self._study, frozen._trial_id)
        self._running[number] = _Running(trial, hyperparameters, run_id)
        return TrialStarted(number, hyperparameters)

    # Recording

    def _handle(self, event: EpochReport | Outcome | Failure) -> Iterator[EpochReport | TrialEnded]:
        running = self._running[event.number]
        if isinstance(event, EpochReport):
            running.trial.report(event.metrics[self._settings.objective], event.epoch)
            running.reports.append(event)
            if time.monotonic() - running.flushed_at > _FLUSH_SECONDS:
                self._flush(running)
            yield event
            return
        del self._running[event.number]
        if isinstance(event, Outcome):
            value = event.metrics[self._settings.objective]
            journal.record_outcome(self._study, running.trial, event, running.reports, value)
            self._finish(running, event)
            self._n_failures = 0
        elif event.died and event.number not in self._died:
            self._died.add(event.number)
            self._again.append(self._trials()[event.number])
            self._close(running, event, "interrupted")
            _logger.warning("trial %d: %s; it is trained again", event.number, event.reason)
            return
        else:
            journal.record_failure(self._study, running.trial, event, running.reports)
            self._close(running, event, "failed")
            self._n_failures += 1
        yield TrialEnded(self._trials()[event.number])
        if self._n_failures >= _MAX_FAILURES:
            reason = getattr(event, "reason", "")
            raise RuntimeError(f"{self._n_failures} trials in a row failed, the last: {reason}")

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _ended(self) -> list[FrozenTrial]:
        return [trial for trial in self._trials() if trial.state.is_finished()]

    # Mirroring in MLflow: one thread, in the order of the calls

    def _write(self, action: Callable[[], T]) -> Future[T]:
        future = self._writer.submit(action)
        future.add_done_callback(self._warn)
        return future

    def _warn(self, future: Future[T]) -> None:
        error = future.exception()
        if error is not None and not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "MLflow could not be written: %s. The search goes on; what is missing is written "
                "at its end, or by the same command later",
                error,
            )

    def _flush(self, running: _Running) -> None:
        reports = running.reports[running.n_flushed :]
        running.n_flushed = len(running.reports)
        running.flushed_at = time.monotonic()
        self._write(lambda: self._tracker.log_epochs(running.run_id.result(), reports))

    def _finish(self, running: _Running, outcome: Outcome) -> None:
        self._flush(running)
        hyperparameters = running.hyperparameters
        self._write(lambda: self._log_outcome(running.run_id.result(), outcome, hyperparameters))

    def _close(self, running: _Running, failure: Failure, state: str) -> None:
        self._flush(running)
        self._write(lambda: self._tracker.fail_trial(running.run_id.result(), failure, state))

    def _log_outcome(self, run_id: str, outcome: Outcome, hyperparameters: Hyperparameters) -> None:
        weights = self._models.weights(outcome.number)
        model_id = None
        if weights.exists():
            model_id = self._models.log(self._tracker, run_id, outcome, hyperparameters)
        self._tracker.finish_trial(run_id, outcome, model_id)
        weights.unlink(missing_ok=True)  # at last: until then it can be logged again

    def _mirror(self, ended: list[FrozenTrial]) -> None:
        logged = self._tracker.logged_trials()
        for trial in ended:
            if trial.number in logged:
                continue
            hyperparameters = Hyperparameters(**trial.user_attrs["hyperparameters"])
            run_id = self._tracker.start_trial(trial.number, hyperparameters, _start_of(trial))
            self._tracker.log_epochs(run_id, journal.reports_of(trial))
            if journal.is_trained(trial):
                self._log_outcome(run_id, journal.outcome_of(trial), hyperparameters)
            else:
                self._tracker.fail_trial(run_id, journal.failure_of(trial), "failed")


def _start_of(trial: FrozenTrial) -> float:
    return time.time() if trial.datetime_start is None else trial.datetime_start.timestamp()
