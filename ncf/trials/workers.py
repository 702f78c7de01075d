"""Workers, and the one loop that keeps them busy: for trials, fresh seeds, baselines and refits.

Workers are a protocol of three members, which the processes of this machine keep to (`local.py`).
Workers of another kind, such as those of a cluster, would be another file beside that one.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ncf.trials.messages import EpochReport, Event, Failure, Outcome, Refit, Setback, Task

MAX_DEATHS = 3  # workers that may die on one task, before the task counts as failed
MAX_FAILURES = 10  # tasks that may fail in a row, before the cause cannot be their settings
MAX_SETBACKS = 10  # of one task in a row, before the search stops; two minutes with the pauses
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds; it doubles from one setback to the next
_POLL_SECONDS = 0.5  # the longest wait before an interruption is noticed
_MOST_AT_ONCE = 8  # tasks that begin between two looks at what has happened; each may take 20 ms
_logger = logging.getLogger(__name__)


class Workers(Protocol):
    """Something that trains tasks, several at a time."""

    @property
    def n_idle(self) -> int:
        """The number of tasks that can be submitted now."""
        ...

    def submit(self, task: Task | Refit) -> None:
        """Hands a task to an idle worker; there must be one."""
        ...

    def receive(self, timeout: float | None = None) -> list[Event]:
        """Returns what has happened, waiting up to `timeout` seconds for something, or for ever."""
        ...


class Stopped(KeyboardInterrupt):
    """The tasks were interrupted, and each of those that ran has ended its epoch."""


def run_tasks(
    workers: Workers,
    next_task: Callable[[], Task | Refit | None],
    is_stopped: Callable[[], bool] = lambda: False,
    what: str = "trial",
) -> Iterator[Task | Refit | EpochReport | Outcome | Failure]:
    """Keeps the workers busy until there is no next task, and yields what happens.

    A task is yielded when it is handed to a worker. A task whose worker dies, or that the machine
    set back, is handed to another worker, which repeats the same epochs; reports of these are not
    yielded again. After a setback there is a pause, in which no other task begins.

    Args:
        workers: The workers, all of them idle at first.
        next_task: Returns the task that is to begin now. None means that none can begin before
            something has ended, or, where nothing is running, that all is done. It may be called
            again after it has returned None.
        is_stopped: Returns whether to stop as soon as each running task has ended its epoch.
        what: The word for a task in messages.

    Raises:
        Stopped: `is_stopped` returned true.
        RuntimeError: Too many tasks have failed in a row.
        OSError: The machine has set a task back too often; the task has no outcome.
    """
    tasks = _Tasks(what)
    while not is_stopped():
        n_begun = yield from _hand_out(tasks, workers, next_task)
        if not tasks.open:
            return
        events = workers.receive(_POLL_SECONDS if n_begun < _MOST_AT_ONCE else 0.0)
        if not is_stopped():
            # Before the events are looked at: an idle worker is waiting, and what has ended is not.
            yield from _hand_out(tasks, workers, next_task)
        for event in events:
            yield from tasks.settle(event)
        if len(tasks.failures) >= MAX_FAILURES:
            _let_end(tasks, workers)
            raise RuntimeError(tasks.describe_failures())
    _logger.warning("interrupted: each %s ends its epoch; Ctrl-C again stops at once", what)
    in_mid_epoch = tasks.open.keys() - tasks.due.keys()
    while in_mid_epoch:
        for event in workers.receive(_POLL_SECONDS):
            in_mid_epoch -= {event.number}
            yield from tasks.settle(event)
    raise Stopped


def _hand_out(
    tasks: _Tasks, workers: Workers, next_task: Callable[[], Task | Refit | None]
) -> Generator[Task | Refit, None, int]:
    """Gives tasks to some idle workers, those that were begun before first; yields the new ones.

    Returns:
        How many new ones there were. Where there were _MOST_AT_ONCE, more may begin at once.
    """
    while workers.n_idle and (again := tasks.take_due()) is not None:
        workers.submit(again)
    n_begun = 0
    while n_begun < _MOST_AT_ONCE and workers.n_idle and not tasks.due:
        task = next_task()
        if task is None:
            break
        tasks.open[task.number] = task
        workers.submit(task)
        n_begun += 1
        yield task
    return n_begun


def _let_end(tasks: _Tasks, workers: Workers) -> None:
    """Waits until no worker has a task, so that the next tasks meet none of these."""
    running = tasks.open.keys() - tasks.due.keys()
    while running:
        for event in workers.receive(_POLL_SECONDS):
            if not isinstance(event, EpochReport):
                running -= {event.number}


@dataclass
class _Tasks:
    """The tasks that have begun and not ended, and what has gone wrong with them.

    Attributes:
        what: The word for a task in messages.
        open: The tasks by number.
        due: When those that no worker has now may begin again, in seconds of the monotonic clock.
        n_deaths: How many workers have died on each.
        n_setbacks: How often each was set back since it last made progress.
        last_epoch: The last epoch that each has reported.
        failures: The tasks that failed since one last succeeded.
    """

    what: str
    open: dict[int, Task | Refit] = field(default_factory=dict)
    due: dict[int, float] = field(default_factory=dict)
    n_deaths: Counter[int] = field(default_factory=Counter)
    n_setbacks: Counter[int] = field(default_factory=Counter)
    last_epoch: Counter[int] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def take_due(self) -> Task | Refit | None:
        """Returns a task whose time to begin again has come."""
        now = time.monotonic()
        number = next((number for number, at in self.due.items() if at <= now), None)
        if number is None:
            return None
        del self.due[number]
        return self.open[number]

    def settle(self, event: Event) -> Iterator[EpochReport | Outcome | Failure]:
        """Notes what has happened to a task, and yields it where the caller is to know it.

        Raises:
            OSError: The task was set back too often.
        """
        if isinstance(event, EpochReport):
            if event.epoch > self.last_epoch[event.number]:
                self.last_epoch[event.number] = event.epoch
                del self.n_setbacks[event.number]
                yield event
        elif isinstance(event, Setback):
            self._put_off(event)
        elif isinstance(event, Failure) and self._is_forgiven(event):
            _logger.warning("%s %d: %s; it is trained again", self.what, event.number, event.reason)
            self.due[event.number] = time.monotonic()
        else:
            if isinstance(event, Failure):
                self.failures.append(event)
            else:
                self.failures.clear()
            del self.open[event.number]
            yield event

    def describe_failures(self) -> str:
        """Returns how many tasks have failed in a row, and the reason of most of them."""
        reasons = [failure.reason for failure in self.failures]
        ((kind, n),) = Counter(map(_without_particulars, reasons)).most_common(1)
        example = next(reason for reason in reasons if _without_particulars(reason) == kind)
        last = self.failures[-1].number
        return (
            f"{len(reasons)} in a row failed ({self.what} {last} was the last), {n} of them with: "
            f"{example}"
        )

    def _is_forgiven(self, failure: Failure) -> bool:
        """Returns whether a worker has died, and not too many have died on this task."""
        self.n_deaths[failure.number] += failure.died
        return failure.died and self.n_deaths[failure.number] < MAX_DEATHS

    def _put_off(self, setback: Setback) -> None:
        """Lets a task begin again after a pause.

        Raises:
            OSError: The task was set back too often.
        """
        number = setback.number
        self.n_setbacks[number] += 1
        n = self.n_setbacks[number]
        if n >= MAX_SETBACKS:
            raise OSError(
                f"{self.what} {number} could not be trained in {n} attempts: {setback.reason}. "
                "This lies in the machine and not in the setting, so nothing is recorded: mend it, "
                "and the same command goes on from here"
            )
        pause = min(_FIRST_PAUSE * 2 ** (n - 1), _LONGEST_PAUSE)
        self.due[number] = time.monotonic() + pause
        _logger.log(
            logging.WARNING if n == 1 else logging.INFO,
            "%s %d was set back: %s; it is trained again",
            self.what,
            number,
            setback.reason,
        )


def _without_particulars(reason: str) -> str:
    """Returns a reason without the files and numbers in which one case differs from another."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\S*[/\\]\S*|\d+", "*", reason)
