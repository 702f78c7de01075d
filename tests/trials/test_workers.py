"""The loop over tasks: what the machine sets back is tried again, and is never an outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.seeds import Purpose, spawn
from ncf.trials.messages import EpochReport, Failure, Outcome, Refit, Setback, Task
from ncf.trials.workers import MAX_FAILURES, MAX_SETBACKS, Stopped, run_tasks

Event = EpochReport | Outcome | Failure | Setback


class Clock:
    """A clock that goes on while something is waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("ncf.trials.workers.time.monotonic", lambda: self.now)


class ClockedWorkers:
    """Two workers that answer at once; where they have nothing to do, waiting takes its time."""

    def __init__(self, clock: Clock, answer: Callable[[int], Event]) -> None:
        self.clock, self.answer = clock, answer
        self.begun: list[tuple[float, int]] = []  # when each task was submitted
        self.waiting: list[int] = []

    @property
    def n_idle(self) -> int:
        return 2 - len(self.waiting)

    def submit(self, task: Task | Refit) -> None:
        self.begun.append((self.clock.now, task.number))
        self.waiting.append(task.number)

    def receive(self, timeout: float | None = None) -> list[Event]:
        if not self.waiting:
            assert timeout is not None
            self.clock.now += timeout
            return []
        return [self.answer(self.waiting.pop(0))]


def refit(number: int) -> Refit:
    seed = spawn(0, Purpose.REFIT, number)
    return Refit(number, Hyperparameters(), seed, 1, "cpu", Path("weights"))


def outcome(number: int) -> Outcome:
    return Outcome(number, False, 1, 1, {}, {}, 1.0, 0.0)


def run(workers: ClockedWorkers, n_tasks: int) -> list[Outcome | Failure]:
    tasks = iter(map(refit, range(n_tasks)))
    events = run_tasks(workers, lambda: next(tasks, None), what="refit")
    return [event for event in events if isinstance(event, Outcome | Failure)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_what_is_set_back_is_tried_again_after_longer_and_longer_pauses(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(number: int) -> Event:
        if number == 0 and clock.now < 10.0:  # a folder that cannot be written for ten seconds
            return Setback(number, "PermissionError: [Errno 13] Permission denied: 'weights'")
        return outcome(number)

    workers = ClockedWorkers(clock, answer)
    with caplog.at_level(logging.WARNING, "ncf"):  # whatever a search before has set
        assert {end.number for end in run(workers, 4)} == {0, 1, 2, 3}
    assert [at for at, number in workers.begun if number == 0] == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5]
    assert caplog.text.count("refit 0 was set back: PermissionError") == 1


def test_what_is_set_back_without_end_stops_the_search_and_has_no_outcome(clock: Clock) -> None:
    workers = ClockedWorkers(clock, lambda number: Setback(number, "OSError: no processes left"))
    ended = []
    message = r"refit 0 could not be trained in 10 attempts: OSError: no .* nothing is recorded"
    with pytest.raises(OSError, match=message):
        ended += run(workers, 4)
    assert ended == []
    assert [number for _, number in workers.begun].count(0) == MAX_SETBACKS
    assert 120.0 < clock.now < 150.0


def test_a_stop_does_not_wait_for_what_was_set_back(clock: Clock) -> None:
    workers = ClockedWorkers(clock, lambda number: Setback(number, "OSError: no processes left"))
    tasks = iter(map(refit, range(4)))
    with pytest.raises(Stopped):
        list(run_tasks(workers, lambda: next(tasks, None), lambda: clock.now > 3.0))
    assert clock.now < 5.0


def test_reasons_that_differ_in_a_files_name_alone_are_one(clock: Clock) -> None:
    def answer(number: int) -> Event:
        if number == 3:
            return Failure(number, "MemoryError: odd")
        return Failure(number, f"ValueError: cannot read '/tmp/trial-{number:04d}.bin', line 1")

    message = r"10 in a row failed .* 9 of them with: ValueError: cannot read '/tmp/trial-0000.bin'"
    workers = ClockedWorkers(clock, answer)
    with pytest.raises(RuntimeError, match=message):
        run(workers, MAX_FAILURES + 3)
    assert workers.waiting == []  # what still ran would be taken for the next tasks' end


def test_what_has_happened_is_looked_at_before_a_thousand_tasks_have_begun() -> None:
    calls: list[str] = []

    class Thousand:
        """Workers that answer once each of them has a task."""

        def __init__(self) -> None:
            self.waiting: list[int] = []

        @property
        def n_idle(self) -> int:
            return 1000 - len(self.waiting)

        def submit(self, task: Task | Refit) -> None:
            calls.append("submit")
            self.waiting.append(task.number)

        def receive(self, timeout: float | None = None) -> list[Event]:
            is_full = len(self.waiting) == 1000
            assert is_full or n_left == 0 or timeout == 0.0  # there is something else to do
            calls.append("receive")
            return [outcome(self.waiting.pop())] if is_full or n_left == 0 else []

    n_left = 1200

    def next_task() -> Refit | None:
        nonlocal n_left
        n_left -= n_left > 0
        return refit(n_left) if n_left else None

    ended = [e for e in run_tasks(Thousand(), next_task) if isinstance(e, Outcome)]
    assert len(ended) == 1199
    longest = max(map(len, "".join(call[0] for call in calls).split("r")))
    assert longest <= 20
