"""Is the best trial the best? More seeds of the best trials, and baselines on the same budget.

A search crowns lucky trials: the maximum of many noisy values is too high. So the best few are
trained again on train with fresh seeds and judged on validation, and the best mean wins. Baselines
are tuned by the same proposals, on the same split and candidates, for as many seconds of worker
time as the trials took.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import BASELINES, MODELS, Setting
from ncf.protocol.seeds import Purpose, spawn, spawn_int
from ncf.search import journal
from ncf.search.coordinator import MAX_DEATHS, MAX_FAILURES
from ncf.search.proposals import Proposals, is_decidable
from ncf.search.pruning import stopping_thresholds
from ncf.trials.messages import EpochReport, Failure, Outcome, Refit, Task

if TYPE_CHECKING:
    from ncf.search.plan import Prepared
    from ncf.trials.local import LocalWorkers

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Confirmed:
    """A trial's setting, trained again with other seeds.

    Attributes:
        number: The trial.
        outcomes: Of each seed.
        values: The objective of each seed.
    """

    number: int
    outcomes: tuple[Outcome, ...]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean objective."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float:
        """Standard deviation of the objective over seeds; NaN of one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")

    @property
    def best_epoch(self) -> int:
        """The median best epoch."""
        return round(float(np.median([outcome.best_epoch for outcome in self.outcomes])))


def confirm(
    study: optuna.Study,
    prepared: Prepared,
    workers: LocalWorkers,
    folder: Path,
    n_trials: int,
    n_seeds: int,
) -> Iterator[Confirmed]:
    """Trains the best trials again; what was confirmed before is taken from the study.

    Yields:
        Each confirmed trial, in the order of the trials' values.
    """
    ranking = journal.best_first(study.get_trials(deepcopy=False))[:n_trials]
    done: dict[str, dict[str, Any]] = dict(study.user_attrs.get("confirmation", {}))
    seeds_of = {trial.number: done.setdefault(str(trial.number), {}) for trial in ranking}
    missing = [
        (trial, index)
        for trial in ranking
        for index in range(n_seeds)
        if str(index) not in seeds_of[trial.number]
    ]

    def task_of(position: int) -> Task:
        trial, index = missing[position]
        return task_of_setting(
            prepared,
            position,
            Hyperparameters(**trial.user_attrs["hyperparameters"]),
            spawn(prepared.settings.seed, Purpose.CONFIRMATION, trial.number * 1000 + index),
            folder / f"confirmation-{position}.safetensors",
        )

    tasks = map(task_of, range(len(missing)))
    for event in run_tasks(workers, lambda: next(tasks, None)):
        trial, index = missing[event.number]
        (folder / f"confirmation-{event.number}.safetensors").unlink(missing_ok=True)
        if isinstance(event, Failure):
            _logger.warning("trial %d, seed %d: %s", trial.number, index, event.reason)
            continue
        seeds_of[trial.number][str(index)] = asdict(event)
        study.set_user_attr("confirmation", done)
    for trial in ranking:
        of_seeds = seeds_of[trial.number]
        outcomes = [Outcome(**of_seeds[index]) for index in sorted(of_seeds, key=int)]
        if outcomes:
            objective = prepared.settings.objective
            values = tuple(outcome.metrics[objective] for outcome in outcomes)
            yield Confirmed(trial.number, tuple(outcomes), values)


@dataclass(frozen=True)
class Tuned:
    """A baseline after its search.

    Attributes:
        setting: The best setting by validation.
        outcome: Of that setting.
        n_trials: Settings tried.
        seconds: Worker time that they took.
    """

    setting: Setting
    outcome: Outcome
    n_trials: int
    seconds: float


def tune(
    name: str,
    study: optuna.Study,
    prepared: Prepared,
    workers: LocalWorkers,
    folder: Path,
    budget: float,
) -> Tuned | None:
    """Tunes a baseline until its trials have taken `budget` seconds of worker time.

    Each setting's outcome is recorded with the study, and taken from there the next time: the
    proposals, which depend on nothing else, come out the same.

    Returns:
        What was found; None where no setting could be fitted.
    """
    model = MODELS[name]
    seed = spawn_int(prepared.settings.seed, Purpose.BASELINE, BASELINES.index(name))
    proposals = Proposals(name, model.defaults, model.space, seed)
    trials: list[FrozenTrial] = []
    settings: list[Setting] = []
    outcomes: dict[int, Outcome] = {}
    started: dict[int, float] = {}

    def spent() -> float:
        now = time.perf_counter()
        ended = sum(outcome.seconds for outcome in outcomes.values())
        return ended + sum(now - at for at in started.values())

    recorded, objective, n_failures = study.user_attrs, prepared.settings.objective, 0

    def is_enough() -> bool:
        is_spent = len(trials) > 0 and (name == "popularity" or spent() >= budget)
        return is_spent or n_failures >= MAX_FAILURES

    def next_task() -> Task | None:
        while not is_enough() and is_decidable(trials, number := len(trials)):
            setting, running = proposals.next(trials)
            trials.append(running)
            settings.append(setting)
            if (of_before := recorded.get(f"{name}-{number}")) is None:
                started[number] = time.perf_counter()
                fit_seed = spawn(seed, Purpose.TRIAL, number)
                return task_of_setting(prepared, number, setting, fit_seed, None)
            end(Outcome(**of_before) if "metrics" in of_before else Failure(**of_before))
        return None

    def end(event: Outcome | Failure) -> None:
        nonlocal n_failures
        n_failures = n_failures + 1 if isinstance(event, Failure) else 0  # in a row
        running = trials[event.number]
        state, value = TrialState.FAIL, None
        if isinstance(event, Outcome):
            outcomes[event.number] = event
            state, value = TrialState.COMPLETE, event.metrics[objective]
        else:
            _logger.warning("%s, setting %d: %s", name, event.number, event.reason)
        trials[event.number] = create_trial(
            state=state, value=value, params=running.params, distributions=running.distributions
        )

    for event in run_tasks(workers, next_task):
        del started[event.number]
        study.set_user_attr(f"{name}-{event.number}", asdict(event))
        end(event)
    if not outcomes:
        return None
    best = max(outcomes.values(), key=lambda one: (one.metrics[objective], -one.number))
    return Tuned(settings[best.number], best, len(outcomes), spent())


def task_of_setting(
    prepared: Prepared,
    number: int,
    setting: Setting,
    seed: np.random.SeedSequence,
    weights: Path | None,
) -> Task:
    """Returns the task of one setting as a trial of the search would train it, never pruned."""
    experiment, settings = prepared.experiment, prepared.settings
    never = stopping_thresholds([], experiment.epochs)
    return Task(
        number, setting, seed, experiment.epochs, experiment.patience,
        settings.k, settings.device, never, weights,
    )  # fmt: skip


def run_tasks(
    workers: LocalWorkers, next_task: Callable[[], Task | Refit | None]
) -> Iterator[Outcome | Failure]:
    """Keeps the workers busy until there is no next task, and yields how each task ended."""
    running: dict[int, Task | Refit] = {}
    again: list[Task | Refit] = []
    deaths: Counter[int] = Counter()
    while True:
        while workers.n_idle and (task := again.pop() if again else next_task()) is not None:
            workers.submit(task)
            running[task.number] = task
        if not running:
            return
        for event in workers.receive():
            if isinstance(event, EpochReport):
                continue
            task = running.pop(event.number)
            if isinstance(event, Failure) and event.died:
                deaths[task.number] += 1
                if deaths[task.number] < MAX_DEATHS:
                    again.append(task)
                    continue
            yield event
