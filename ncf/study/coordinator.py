"""The search: one coordinator decides what is trained and records the outcomes; workers train.

The coordinator yields events. MLflow's runs and the progress bar follow that stream, and the
coordinator knows nothing of either. The winner's model and each baseline are searched by the same
code, each over its own space and in its own record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from ncf.models.table import Setting, model_of
from ncf.protocol.seeds import Purpose, spawn
from ncf.study import journal
from ncf.study.plan import Plan
from ncf.study.proposals import Proposals, n_known
from ncf.study.pruning import Curves
from ncf.trials.messages import EpochReport, Failure, Outcome, Task
from ncf.trials.workers import Workers, run_tasks


@dataclass(frozen=True)
class Space:
    """The search space of one coordinator, and its budget.

    Attributes:
        name: The word for what is trained in messages: "trial", or the title of a baseline.
        defaults: The setting that is trained first.
        suggest: Makes one setting of an Optuna trial.
        seed: The seed of the proposals and of the training.
        n_trials: The number of trained trials that the record is to have in the end.
        prune: Whether trials stop early where the others' learning curves were better.
        timeout: Seconds after which no new trial starts.
        weights: Returns the file for the weights of a trial; None where they are not needed.
        beside: The file of the model that the trials are mixtures of; None where they are none.
    """

    name: str
    defaults: Setting
    suggest: Callable[[optuna.Trial], Setting]
    seed: int
    n_trials: int
    prune: bool = False
    timeout: float | None = None
    weights: Callable[[int], Path] | None = None
    beside: Path | None = None


def weights_in(folder: Path, number: int) -> Path:
    """Returns the file in a study's folder for the weights of a trial."""
    return folder / f"trial-{number:04d}.safetensors"


@dataclass(frozen=True)
class TrialStarted:
    """A trial was given to a worker, `at` seconds since 1970."""

    number: int
    setting: Setting
    at: float


@dataclass(frozen=True)
class TrialEnded:
    """A trial has ended and is in the record."""

    trial: FrozenTrial


Event = TrialStarted | EpochReport | TrialEnded


class Coordinator:
    """Runs the trials of one record, to which nothing else writes."""

    def __init__(self, study: optuna.Study, space: Space, plan: Plan) -> None:
        """Takes over a record; trials that a killed process left running will come first.

        Args:
            study: The record.
            space: The search space and the budget.
            plan: The plan of the study, which makes the tasks.
        """
        self._study = study
        self._space = space
        self._plan = plan
        self._lag = plan.settings.lag
        self._proposals = Proposals(
            space.name,
            space.defaults,
            space.suggest,
            space.seed,
            self._lag,
            digits=plan.settings.digits,
        )
        # Kept up to date, since reading a thousand trials again takes longer than one decision.
        self._trials: list[FrozenTrial] = study.get_trials(deepcopy=False)
        self._n_ended = 0  # of the first trials, all of which have ended
        self._n_trained = sum(map(journal.is_trained, self._trials))
        self._curves = Curves(plan.experiment.epochs)
        self._again = [trial for trial in self._trials if trial.state == TrialState.RUNNING]
        self._running: dict[int, optuna.Trial] = {}
        self._reports: dict[int, list[EpochReport]] = {}  # of each running trial
        self._decided: tuple[Setting, FrozenTrial] | None = None
        self._deadline = math.inf
        self._count_ended()

    def run(
        self, workers: Workers, is_stopped: Callable[[], bool] = lambda: False
    ) -> Generator[Event, None, None]:
        """Yields events until the record has its trials, or the time is over.

        Args:
            workers: The workers that train.
            is_stopped: Returns whether to stop as soon as each running trial has ended its epoch.

        Raises:
            Stopped: `is_stopped` returned true.
            RuntimeError: Too many trials failed in a row.
        """
        if self._space.timeout is not None:
            self._deadline = time.monotonic() + self._space.timeout
        for event in run_tasks(workers, self._next_task, is_stopped, self._space.name):
            if isinstance(event, Outcome | Failure):
                yield self._record(event)
            elif isinstance(event, EpochReport):
                self._running[event.number].report(
                    self._plan.settings.objective.value(event.metrics), event.epoch
                )
                self._reports[event.number].append(event)
                yield event
            else:
                yield TrialStarted(event.number, event.setting, time.time())
            self._decide()  # now, while the workers are busy; TPE is slower with more trials

    def _decide(self) -> None:
        """Decides the next trial, if one is wanted and the outcomes that it needs are known."""
        number = len(self._trials)
        n_open = len(self._running) + self._n_trained
        is_late = time.monotonic() > self._deadline
        is_wanted = n_open < self._space.n_trials and not self._again and not is_late
        if is_wanted and self._decided is None and n_known(number, self._lag) <= self._n_ended:
            self._decided = self._proposals.next(self._trials)

    def _count_ended(self) -> None:
        """Counts the first trials, up to one that has not ended."""
        for trial in self._trials[self._n_ended :]:
            if not trial.state.is_finished():
                break
            self._n_ended += 1

    def _next_task(self) -> Task | None:
        if self._again:
            frozen = self._again.pop(0)
            setting = journal.setting_of(frozen)
        else:
            self._decide()
            if self._decided is None or time.monotonic() > self._deadline:
                return None
            (setting, proposal), self._decided = self._decided, None
            proposal.set_user_attr("model", model_of(setting).name)
            proposal.set_user_attr("hyperparameters", asdict(setting))
            frozen = journal.add(self._study, proposal)
            self._trials.append(frozen)
        self._running[frozen.number] = optuna.Trial(self._study, frozen._trial_id)
        self._reports[frozen.number] = []
        return self._task(frozen.number, setting)

    def _task(self, number: int, setting: Setting) -> Task:
        known = n_known(number, self._lag)
        for ended in self._trials[len(self._curves) : known]:
            values = ended.intermediate_values.values() if journal.is_trained(ended) else []
            self._curves.append([*values])
        stop_below = self._curves.thresholds(known) if self._space.prune else None
        seed = spawn(self._space.seed, Purpose.TRIAL, number)
        weights = self._space.weights(number) if self._space.weights else None
        return self._plan.task(number, setting, seed, weights, stop_below, self._space.beside)

    def _record(self, end: Outcome | Failure) -> TrialEnded:
        trial, reports = self._running.pop(end.number), self._reports.pop(end.number)
        if isinstance(end, Outcome):
            metrics = reports[-1].metrics if end.pruned else end.metrics
            value = self._plan.settings.objective.value(metrics)
            frozen = journal.record_outcome(self._study, trial, end, reports, value)
            self._n_trained += 1
        else:
            frozen = journal.record_failure(self._study, trial, end, reports)
        self._trials[end.number] = frozen
        self._count_ended()
        return TrialEnded(frozen)
