"""Workers, and the one loop that keeps them busy: for trials, fresh seeds, baselines and refits.

Workers are a protocol of three members, which the processes of this machine keep to (`local.py`).
Workers of another kind, such as those of a cluster, would be another file beside that one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from ncf.trials.messages import EpochReport, Failure, Outcome, Refit, Task

MAX_DEATHS = 3  # workers that may die on one task, before the task counts as failed
MAX_FAILURES = 10  # tasks that may fail in a row, before the cause cannot be their settings
_POLL_SECONDS = 0.5  # the longest wait before an interruption is noticed
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

    def receive(self, timeout: float | None = None) -> list[EpochReport | Outcome | Failure]:
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

    A task is yielded when it is handed to a worker. A task whose worker dies is handed to another,
    which repeats the same epochs; reports of these are not yielded again.

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
    """
    running: dict[int, Task | Refit] = {}
    again: list[Task | Refit] = []  # tasks whose worker has died
    n_deaths: Counter[int] = Counter()
    last_epoch: Counter[int] = Counter()
    failures: list[str] = []  # the reasons of those since a task last succeeded

    def begin() -> Iterator[Task | Refit]:
        while workers.n_idle and again:
            workers.submit(again.pop(0))
        while workers.n_idle and (task := next_task()) is not None:
            workers.submit(task)
            running[task.number] = task
            yield task

    def settle(
        event: EpochReport | Outcome | Failure,
    ) -> Iterator[EpochReport | Outcome | Failure]:
        if isinstance(event, EpochReport):
            if event.epoch > last_epoch[event.number]:
                last_epoch[event.number] = event.epoch
                yield event
            return
        if isinstance(event, Failure) and event.died:
            n_deaths[event.number] += 1
            if n_deaths[event.number] < MAX_DEATHS:
                _logger.warning("%s %d: %s; it is trained again", what, event.number, event.reason)
                again.append(running[event.number])
                return
        del running[event.number]
        yield event
        if isinstance(event, Outcome):
            failures.clear()
            return
        failures.append(event.reason)
        if len(failures) >= MAX_FAILURES:
            ((reason, n),) = Counter(failures).most_common(1)
            raise RuntimeError(
                f"{len(failures)} in a row failed ({what} {event.number} was the last), "
                f"{n} of them with: {reason}"
            )

    while not is_stopped():
        yield from begin()
        if not running:
            return
        events = workers.receive(_POLL_SECONDS)
        if not is_stopped():
            yield from begin()  # first, since an idle worker is waiting and what has ended is not
        for event in events:
            yield from settle(event)
    _logger.warning("interrupted: each %s ends its epoch; Ctrl-C again stops at once", what)
    # A task whose worker has died is not among them: it has not begun again.
    in_mid_epoch = set(running) - {task.number for task in again}
    while in_mid_epoch:
        for event in workers.receive(_POLL_SECONDS):
            in_mid_epoch.discard(event.number)
            yield from settle(event)
    raise Stopped
