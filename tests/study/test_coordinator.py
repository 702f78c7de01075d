"""The coordinator, with a real journal, and workers and a tracker that are planted."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from ncf.models.gmf.setting import Hyperparameters
from ncf.study import journal
from ncf.study.coordinator import Coordinator, Space, TrialEnded, TrialStarted
from ncf.study.coordinator import Event as Happened
from ncf.study.experiment import Experiment
from ncf.study.journal_file import JournalFile
from ncf.study.plan import Plan, Settings
from ncf.study.source import Source
from ncf.study.storage import open_storage
from ncf.trials.messages import EpochReport, Failure, Outcome, Refit, Setback, Task
from ncf.trials.workers import MAX_DEATHS, MAX_FAILURES, Stopped

Event = EpochReport | Outcome | Failure | Setback
Answer = Callable[[Task], Iterator[Event]]
N_TRIALS = 20  # the last of them are pruned


def search_space(trial: optuna.Trial) -> Hyperparameters:
    return Hyperparameters(
        learning_rate=trial.suggest_float("learning_rate", 1e-3, 1.0, log=True),
        embedding_dim=trial.suggest_int("embedding_dim", 4, 64),
    )


EXPERIMENT = Experiment(
    "toy", "toy", Hyperparameters(learning_rate=0.1, embedding_dim=8), search_space, epochs=6
)


NOTHING = np.zeros((0, 2), np.int32)
SETTINGS = Settings(N_TRIALS, seed=0, lag=8, full_users=None)
PLAN = Plan(
    "toy", EXPERIMENT, SETTINGS, Source("toy"), cast(Any, None), cast(Any, None), "", NOTHING,
    NOTHING,
)  # fmt: skip


def train(task: Task) -> Iterator[Event]:
    """Yields a curve that depends on the task alone, and stops where it is to."""
    assert isinstance(task.setting, Hyperparameters)
    noise = float(task.seed.generate_state(1)[0]) / 2**32
    top = 0.5 - 0.1 * abs(math.log10(task.setting.learning_rate / 0.05)) + 0.01 * noise
    best = 0.0
    for epoch in range(1, task.epochs + 1):
        best = top * (1 - 0.5**epoch)
        yield EpochReport(task.number, epoch, 1e9 + epoch, 0.5, 0.1, 100, {"ndcg_10": best})
        pruned = epoch < task.epochs and best < task.stop_below[epoch - 1]
        if pruned:
            break
    yield Outcome(task.number, pruned, epoch, epoch, {"ndcg_10": best}, {}, 1.0, 1e9)


class PlantedWorkers:
    """Workers that send one event at a time, in an order that a seed decides."""

    def __init__(self, n: int, answer: Answer = train, seed: int = 0) -> None:
        self.n, self.answer = n, answer
        self.rng = random.Random(seed)
        self.tasks: list[Task] = []
        self.running: list[Iterator[Event]] = []
        self.most_running = 0

    @property
    def n_idle(self) -> int:
        return self.n - len(self.running)

    def submit(self, task: Task | Refit) -> None:
        assert isinstance(task, Task)
        self.tasks.append(task)
        self.running.append(self.answer(task))
        self.most_running = max(self.most_running, len(self.running))

    def receive(self, timeout: float | None = None) -> list[Event]:
        events = self.rng.choice(self.running)
        event = next(events)
        if not isinstance(event, EpochReport):
            self.running.remove(events)
        return [event]


def run(
    folder: Path,
    workers: PlantedWorkers,
    is_stopped: Callable[[], bool] = lambda: False,
    n_trials: int = N_TRIALS,
    lag: int = SETTINGS.lag,
) -> list[Happened]:
    """Runs the study of a folder to its end; returns what happened."""
    happened: list[Happened] = []
    run_into(happened, folder, workers, is_stopped, n_trials, lag)
    return happened


def run_into(
    happened: list[Happened],
    folder: Path,
    workers: PlantedWorkers,
    is_stopped: Callable[[], bool] = lambda: False,
    n_trials: int = N_TRIALS,
    lag: int = SETTINGS.lag,
) -> None:
    """The same; what happened is there too where it raises."""
    folder.mkdir(exist_ok=True)
    study = journal.open_study(open_storage(str(folder / "journal")), "toy", {})
    space = Space("trial", EXPERIMENT.defaults, search_space, 0, n_trials, prune=True)
    plan = replace(PLAN, settings=replace(SETTINGS, lag=lag))
    for event in Coordinator(study, space, plan).run(workers, is_stopped):
        happened.append(event)


def epochs_of(happened: list[Happened], number: int) -> list[int]:
    return [e.epoch for e in happened if isinstance(e, EpochReport) and e.number == number]


def trials_of(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = open_storage(str(folder / "journal"))
    return optuna.load_study(storage=storage, study_name="toy").get_trials()


def results_of(folder: Path) -> list[tuple[Any, ...]]:
    return [
        (t.number, t.state, t.params, t.value, t.intermediate_values, t.user_attrs)
        for t in trials_of(folder)
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What a search comes to that nothing happens to."""
    folder = tmp_path_factory.mktemp("unbroken")
    happened = run(folder, PlantedWorkers(1))
    numbers = [event.number for event in happened if isinstance(event, TrialStarted)]
    assert numbers == [*range(N_TRIALS)]
    assert sum(isinstance(event, TrialEnded) for event in happened) == N_TRIALS
    results = results_of(folder)
    assert TrialState.PRUNED in {result[1] for result in results}
    return results


class Killed(BaseException):
    """Nothing that the code could catch."""


@pytest.mark.filterwarnings("ignore:The reported value is ignored")  # of an epoch trained again
def test_kills_at_any_write_of_the_record_change_nothing(
    unbroken: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = JournalFile.append_logs
    rng = random.Random(0)
    life = 0

    def mortal(file: JournalFile, logs: list[dict[str, Any]]) -> None:
        nonlocal life
        life -= 1
        if life == 0 and rng.random() < 0.5:
            raise Killed
        append(file, logs)
        if life <= 0:
            raise Killed

    monkeypatch.setattr(JournalFile, "append_logs", mortal)
    n_kills = 0
    while True:
        life = rng.randint(3, 30)  # writes; a trial takes about ten
        try:
            run(tmp_path, PlantedWorkers(rng.randint(1, 4), seed=n_kills))
            break
        except Killed:
            n_kills += 1
    assert n_kills >= 10
    assert results_of(tmp_path) == unbroken


def test_a_dead_workers_trial_goes_on_where_it_was(
    unbroken: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    rng = random.Random(1)
    deaths: Counter[int] = Counter()

    def dying(task: Task) -> Iterator[Event]:
        for event in train(task):
            if deaths[task.number] < MAX_DEATHS - 1 and rng.random() < 0.1:
                deaths[task.number] += 1
                yield Failure(task.number, "worker died: signal SIGKILL", died=True)
                return
            yield event

    happened = run(tmp_path, PlantedWorkers(3, dying))
    assert deaths.total() >= 5
    assert results_of(tmp_path) == unbroken
    for number, _, _, _, curve, _ in unbroken:
        assert epochs_of(happened, number) == list(curve)  # none of them twice
    assert sum(isinstance(event, TrialStarted) for event in happened) == N_TRIALS


def test_one_trial_never_ends_the_search(tmp_path: Path) -> None:
    def answer(task: Task) -> Iterator[Event]:
        if task.number == 2:
            yield Failure(2, "ValueError: no", "Traceback ...")
        elif task.number == 3:  # more than the machine has memory for
            yield Failure(3, "worker died: signal SIGKILL (out of memory?)", died=True)
        else:
            yield from train(task)

    workers = PlantedWorkers(2, answer)
    run(tmp_path, workers)
    trials = trials_of(tmp_path)
    assert [t.number for t in trials if t.state == TrialState.FAIL] == [2, 3]
    assert sum(map(journal.is_trained, trials)) == N_TRIALS  # failed ones are no part of them
    assert [task.number for task in workers.tasks].count(3) == MAX_DEATHS
    assert journal.failure_of(trials[2]) == Failure(2, "ValueError: no", "Traceback ...")


def test_failures_in_a_row_end_the_search_with_their_reason(tmp_path: Path) -> None:
    def answer(task: Task) -> Iterator[Event]:
        if task.number < 3:
            yield from train(task)
        else:
            is_odd = task.number == 3 + MAX_FAILURES - 1  # and the last
            reason = "MemoryError: odd" if is_odd else "RuntimeError: no such device"
            yield Failure(task.number, reason)

    workers = PlantedWorkers(1, answer)
    message = "10 in a row failed .* 9 of them with: RuntimeError: no such device"
    with pytest.raises(RuntimeError, match=message):
        run(tmp_path, workers)
    assert len(workers.tasks) == 3 + MAX_FAILURES + 1  # a worker never waits for a record


def test_the_first_interrupt_lets_the_epochs_end(tmp_path: Path) -> None:
    n_asked, sent = 0, Counter[int]()

    def counted(task: Task) -> Iterator[Event]:
        for event in train(task):
            sent[task.number] += isinstance(event, EpochReport)
            yield event

    def is_stopped() -> bool:
        nonlocal n_asked
        n_asked += 1
        return n_asked > 12

    happened: list[Happened] = []
    with pytest.raises(Stopped):
        run_into(happened, tmp_path, PlantedWorkers(2, counted), is_stopped)
    running = [t for t in trials_of(tmp_path) if not t.state.is_finished()]
    assert running
    for number, n_epochs in sent.items():
        assert epochs_of(happened, number) == list(range(1, n_epochs + 1))
    for trial in running:
        assert sent[trial.number] > 0


@pytest.mark.filterwarnings("ignore:The reported value is ignored")
def test_an_interrupt_does_not_wait_for_a_trial_whose_worker_died(
    unbroken: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    has_died = False

    def dying(task: Task) -> Iterator[Event]:
        nonlocal has_died
        for event in train(task):
            if task.number == 4 and not has_died:
                has_died = True
                yield Failure(4, "worker died: signal SIGKILL", died=True)
                return
            yield event

    with pytest.raises(Stopped):
        run(tmp_path, PlantedWorkers(2, dying), lambda: has_died)
    run(tmp_path, PlantedWorkers(2))
    assert results_of(tmp_path) == unbroken


@pytest.mark.filterwarnings("ignore:The reported value is ignored")
def test_fewer_workers_after_an_interruption_train_no_trial_more(tmp_path: Path) -> None:
    workers = PlantedWorkers(4)
    with pytest.raises(Stopped):
        run(tmp_path, workers, lambda: len(workers.tasks) == 9, n_trials=9)
    assert sum(not trial.state.is_finished() for trial in trials_of(tmp_path)) >= 2
    run(tmp_path, PlantedWorkers(1), n_trials=9)
    assert len(trials_of(tmp_path)) == 9


@pytest.mark.parametrize(("lag", "n_jobs", "most"), [(5, 9, 5), (16, 9, 9)])
def test_as_many_run_at_once_as_the_lag_allows_and_jobs_change_no_trial(
    lag: int, n_jobs: int, most: int, tmp_path: Path
) -> None:
    workers = PlantedWorkers(n_jobs)
    run(tmp_path / "many", workers, lag=lag)
    assert workers.most_running == most
    run(tmp_path / "one", PlantedWorkers(1), lag=lag)
    assert results_of(tmp_path / "many") == results_of(tmp_path / "one")


def test_a_study_of_many_trials_is_that_of_one_that_was_begun_again(tmp_path: Path) -> None:
    """What the coordinator keeps of the record is what another reads of it."""
    for n_trials in (3, 11, 12, 40):
        run(tmp_path / "in parts", PlantedWorkers(3, seed=n_trials), n_trials=n_trials)
    run(tmp_path / "at once", PlantedWorkers(4), n_trials=40)
    assert results_of(tmp_path / "in parts") == results_of(tmp_path / "at once")
