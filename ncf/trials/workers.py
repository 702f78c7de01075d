"""Workers, and the one loop that keeps them busy: for trials, fresh seeds, baselines and refits.

Workers are a protocol of three methods. Whoever keeps to it can train: the processes of this
machine (`local.py`), or something else beside them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from ncf.trials.messages import EpochReport, Failure, Outcome, Refit, Task

MAX_DEATHS = 3  # workers that may die on one task; then the task itself may need too much memory
MAX_FAILURES = 10  # tasks that may fail in a row; then the hyperparameters are not to blame
_POLL_SECONDS = 0.5  # the longest wait before an interruption is noticed
_logger = logging.getLogger(__name__)


class Workers(Protocol):
    """Something that trains tasks, several at a time."""

    @property
    def n_idle(self) -> int:
        """How many more tasks can be submitted now."""
        ...

    def submit(self, task: Task | Refit) -> None:
        """Hands over a task; there must be an idle worker."""
        ...

    def receive(self, timeout: float | None = None) -> list[EpochReport | Outcome | Failure]:
        """Returns what has happened, after a wait of up to `timeout` seconds (None: no limit)."""
        ...


class Stopped(KeyboardInterrupt):
    """The tasks were interrupted, and each of them has ended its epoch."""


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
        workers: Who trains. All of them are idle at first.
        next_task: Returns the task that is to begin now. None means that none can begin before
            something has ended, or, where nothing is running, that all is done. While the workers
            are busy it may be asked more often than there are tasks.
        is_stopped: Whether to stop as soon as each running task has ended its epoch.
        what: What a task is called in messages.

    Raises:
        Stopped: It was stopped.
        RuntimeError: Too many tasks have failed in a row.
    """
    running: dict[int, Task | Refit] = {}
    again: list[Task | Refit] = []  # tasks whose worker has died
    n_deaths: Counter[int] = Counter()
    last_epoch: Counter[int] = Counter()
    failures: list[str] = []  # the reasons since a task last succeeded

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
            yield from begin()  # first: an idle worker waits, what has ended does not
        for event in events:
            yield from settle(event)
    _logger.warning("interrupted: each %s ends its epoch; Ctrl-C again stops at once", what)
    # Nothing more will come of a task whose worker has died and that is still to begin again.
    in_mid_epoch = set(running) - {task.number for task in again}
    while in_mid_epoch:
        for event in workers.receive(_POLL_SECONDS):
            in_mid_epoch.discard(event.number)
            yield from settle(event)
    raise Stopped
