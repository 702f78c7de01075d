"""The search: one coordinator decides, records and logs; worker processes train.

The journal is the record, and MLflow mirrors it; what MLflow lacks after a kill
is written from the journal.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.seeds import Purpose, spawn
from ncf.search import journal
from ncf.search.experiment import Experiment
from ncf.search.proposals import Proposals, is_decidable, known_outcomes
from ncf.search.pruning import stopping_thresholds
from ncf.tracking.mirror import Mirror, TrialRecord, write_trial
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import EpochReport, Failure, Outcome, Task

if TYPE_CHECKING:  # MLflow takes a second to load, and the workers start meanwhile
    from ncf.tracking.logged_models import ModelFiles
    from ncf.tracking.tracker import Tracker

_logger = logging.getLogger(__name__)
_FLUSH_SECONDS = 10.0  # MLflow hears of a running trial this often, and of a shorter one once
_POLL_SECONDS = 0.5  # until Ctrl-C is noticed
MAX_FAILURES = 10  # in a row: then it is not the hyperparameters
MAX_DEATHS = 3  # of workers with one trial: then it is the trial, which may need too much memory


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


class Stopped(KeyboardInterrupt):
    """The search was interrupted, and each trial has ended its epoch."""


@dataclass
class _Running:
    trial: optuna.Trial
    record: TrialRecord
    n_deaths: int = 0
    put_at: float = field(default_factory=time.monotonic)


class Coordinator:
    """Runs the trials of a study; the only one that talks to Optuna and to MLflow."""

    def __init__(
        self,
        study: optuna.Study,
        tracker: Tracker,
        mirror: Mirror,
        experiment: Experiment,
        settings: Settings,
        models: ModelFiles,
    ) -> None:
        """Takes over the study; trials that a kill left running come first."""
        trials = study.get_trials(deepcopy=False)
        self._study = study
        self._tracker = tracker
        self._mirror = mirror
        self._experiment = experiment
        self._settings = settings
        self._models = models
        self._running: dict[int, _Running] = {}
        self._again = [trial for trial in trials if trial.state == TrialState.RUNNING]
        e = experiment
        self._proposals = Proposals(e.name, e.defaults, e.search_space, settings.seed)
        self._decided: tuple[Hyperparameters, FrozenTrial] | None = None
        self._failures: list[str] = []  # reasons, since a trial was last trained
        # Of all trials so far: with a thousand, to read each again takes longer than to decide.
        self._n_trained = sum(map(journal.is_trained, trials))
        self._curves: list[list[float]] = []

    def run(
        self, workers: LocalWorkers, is_stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[TrialStarted | EpochReport | TrialEnded]:
        """Yields what happens until the study has its trials, or the time is over.

        Args:
            workers: Train the trials.
            is_stopped: Whether to stop as soon as each running trial has ended its epoch.

        Raises:
            Stopped: It was stopped.
            RuntimeError: Too many trials failed in a row.
        """
        ended = [trial for trial in self._trials() if trial.state.is_finished()]
        self._mirror.put("earlier trials", lambda: self._put_missing(ended))
        started_at = time.monotonic()
        timeout = self._settings.timeout
        while not is_stopped():
            is_late = timeout is not None and time.monotonic() - started_at > timeout
            yield from self._begin(workers, is_late)
            if not self._running:
                return
            if not is_late:
                self._decide()  # while the workers are busy: it takes longer with more trials
            events = workers.receive(_POLL_SECONDS)
            if not is_stopped():
                yield from self._begin(workers, is_late)  # a worker waits; nobody, for records
            for event in events:
                yield from self._handle(event)
            self._put_running()
        _logger.warning("interrupted: each trial ends its epoch; Ctrl-C again stops at once")
        # Of a trial whose worker has died, and that is still to begin again, nothing will come.
        in_mid_epoch = set(self._running) - {trial.number for trial in self._again}
        while in_mid_epoch:
            for event in workers.receive(_POLL_SECONDS):
                in_mid_epoch.discard(event.number)
                yield from self._handle(event)
        raise Stopped

    def close(self) -> None:
        """Has the runs closed of the trials that were not ended."""
        for number, running in self._running.items():
            running.record.is_interrupted = True
            running.record.end = Failure(number, "the search was interrupted")
            self._put(running.record)
        self._running.clear()

    # Deciding

    def _decide(self) -> None:
        trials = self._trials()
        n_open = len(self._running) + self._n_trained
        is_wanted = n_open < self._settings.n_trials and not self._again
        if is_wanted and self._decided is None and is_decidable(trials, len(trials)):
            self._decided = self._proposals.next(trials)

    def _next(self, is_late: bool) -> tuple[FrozenTrial, Hyperparameters] | None:
        if self._again:
            trial = self._again.pop(0)
            return trial, Hyperparameters(**trial.user_attrs["hyperparameters"])
        if is_late:
            return None
        self._decide()
        if self._decided is None:
            return None
        (hyperparameters, proposal), self._decided = self._decided, None
        proposal.set_user_attr("hyperparameters", asdict(hyperparameters))
        self._study.add_trial(proposal)
        return self._trials()[-1], hyperparameters

    def _begin(self, workers: LocalWorkers, is_late: bool) -> Iterator[TrialStarted]:
        while workers.n_idle and (begun := self._next(is_late)) is not None:
            yield self._start(*begun, workers)

    def _start(
        self, frozen: FrozenTrial, hyperparameters: Hyperparameters, workers: LocalWorkers
    ) -> TrialStarted:
        number = frozen.number
        known = known_outcomes(self._trials(), number)
        for ended in known[len(self._curves) :]:
            values = ended.intermediate_values.values() if journal.is_trained(ended) else []
            self._curves.append([*values])
        curves = [curve for curve in self._curves[: len(known)] if curve]
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
        if number not in self._running:  # else its worker died, and it goes on where it was
            trial = optuna.Trial(self._study, frozen._trial_id)
            record = TrialRecord(number, hyperparameters, time.time())
            self._running[number] = _Running(trial, record)
        return TrialStarted(number, hyperparameters)

    # Recording

    def _handle(self, event: EpochReport | Outcome | Failure) -> Iterator[EpochReport | TrialEnded]:
        running = self._running[event.number]
        record = running.record
        if isinstance(event, EpochReport):
            if event.epoch > len(record.reports):  # else from before its worker died, and the same
                running.trial.report(event.metrics[self._settings.objective], event.epoch)
                record.reports.append(event)
            yield event
            return
        if isinstance(event, Failure) and event.died and running.n_deaths + 1 < MAX_DEATHS:
            running.n_deaths += 1
            self._again.append(self._trials()[event.number])
            _logger.warning("trial %d: %s; it is trained again", event.number, event.reason)
            return
        if isinstance(event, Outcome):
            value = event.metrics[self._settings.objective]
            journal.record_outcome(self._study, running.trial, event, record.reports, value)
            self._failures.clear()
            self._n_trained += 1
        else:
            journal.record_failure(self._study, running.trial, event, record.reports)
            self._failures.append(event.reason)
        del self._running[event.number]
        record.end = event
        self._put(record)
        yield TrialEnded(self._trials()[event.number])
        if (n_failures := len(self._failures)) >= MAX_FAILURES:
            ((reason, n),) = Counter(self._failures).most_common(1)
            raise RuntimeError(f"{n_failures} trials in a row failed, {n} of them so: {reason}")

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    # Mirroring, in the mirror's thread

    def _put(self, record: TrialRecord) -> None:
        write = partial(write_trial, record, self._tracker, self._models)
        self._mirror.put(f"trial {record.number}", write)

    def _put_running(self) -> None:
        now = time.monotonic()
        for running in self._running.values():
            if now - running.put_at > _FLUSH_SECONDS:
                running.put_at = now
                self._put(running.record)

    def _put_missing(self, ended: list[FrozenTrial]) -> None:
        logged = self._tracker.logged_trials()
        for trial in ended:
            if trial.number not in logged:
                self._put(journal.record_of(trial))
            else:  # a kill may have left them
                self._models.weights(trial.number).unlink(missing_ok=True)
