"""What is said while something runs: bars on a terminal, elsewhere a line now and then; the log."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from ncf.models.table import describe
from ncf.protocol.metrics import label
from ncf.redaction import RedactingFormatter
from ncf.search import journal
from ncf.search.coordinator import Event, TrialEnded, TrialStarted
from ncf.trials.messages import EpochReport

_logger = logging.getLogger(__name__)
SILENCE = 30.0  # seconds after which a line is due where there is no terminal
_is_quiet = False  # set once: a process talks to one terminal


class _BesideBars(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:  # what logging calls
        tqdm.write(self.format(record), file=sys.stderr)


@dataclass
class _Standing:
    """Where a study is, counted trial by trial; the time left is learned from those so far."""

    n_trials: int
    n_trained: int = 0
    seconds: float = 0.0
    states: Counter[TrialState] = field(default_factory=Counter)
    best: list[FrozenTrial] = field(default_factory=list)  # one, once there is one

    def count(self, trial: FrozenTrial) -> None:
        self.states[trial.state] += 1
        if journal.is_trained(trial):
            self.n_trained += 1
            self.seconds += journal.outcome_of(trial).seconds
            self.best = journal.best_first([*self.best, trial])[:1]

    def line(self, n_at_once: int) -> str:
        line = (
            f"{self.n_trained}/{self.n_trials} trials: {self.states[TrialState.COMPLETE]} finished,"
            f" {self.states[TrialState.PRUNED]} pruned, {self.states[TrialState.FAIL]} failed"
        )
        for best in self.best:
            line += f"; best {best.value:.4f} (trial {best.number})"
        if 0 < self.n_trained < self.n_trials:
            left = (self.n_trials - self.n_trained) * self.seconds / self.n_trained / n_at_once
            line += f"; about {tqdm.format_interval(left)} left"
        return line


def set_up(quiet: bool, verbose: bool, log_file: str | None) -> None:
    """Decides what is said of the progress, and where.

    Raises:
        OSError: The log file cannot be written.
    """
    global _is_quiet
    _is_quiet = quiet
    stream = _BesideBars()
    stream.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)
    stream.setFormatter(RedactingFormatter("%(levelname)s: %(message)s"))
    handlers: list[logging.Handler] = [stream]
    if log_file is not None:
        handlers.append(logging.FileHandler(log_file, encoding="utf-8"))
        handlers[-1].setFormatter(RedactingFormatter("%(asctime)s %(levelname)s: %(message)s"))
    logging.basicConfig(handlers=handlers, level=logging.WARNING, force=True)
    logging.getLogger("ncf").setLevel(logging.INFO)


def follow(
    events: Iterable[Event],
    trials: Sequence[FrozenTrial],
    n_trials: int,
    epochs: int,
) -> None:
    """Shows a search as it happens: bars on a terminal, elsewhere a line now and then.

    Args:
        events: What the coordinator yields.
        trials: What the study has already.
        n_trials: Trained trials that it shall have.
        epochs: Most epochs of a trial.
    """
    standing = _Standing(n_trials)
    for earlier in trials:
        if earlier.state.is_finished():
            standing.count(earlier)
    running: set[int] = set()
    said_at = time.monotonic()
    off = _off()
    form = "{desc} |{bar:20}| {postfix}"
    with (
        tqdm(total=n_trials, desc="study", bar_format=form, disable=off) as study,
        tqdm(total=epochs, desc="trial", unit="epoch", disable=off, leave=False) as trial,
    ):
        for event in events:
            if isinstance(event, TrialStarted):
                running.add(event.number)
            elif isinstance(event, EpochReport):
                if event.number != min(running):
                    continue  # one bar, for the trial that runs the longest
                trial.set_description(f"trial {event.number}", refresh=False)
                trial.n = event.epoch
                trial.refresh()
            else:
                standing.count(event.trial)
                _logger.info(_ending(event.trial))
                progress = standing.line(n_at_once=max(1, len(running)))
                running.discard(event.trial.number)
                study.n = standing.n_trained
                study.set_postfix_str(progress)
                if study.disable and not _is_quiet and time.monotonic() - said_at > SILENCE:
                    said_at = time.monotonic()
                    print(progress, file=sys.stderr, flush=True)


def follow_baseline(name: str, events: Iterable[tuple[int, Event]]) -> None:
    """Shows the tuning of a baseline: a bar on a terminal.

    Args:
        name: The baseline's name.
        events: How many settings are tried in all, and what happens.
    """
    _logger.info("tuning %s", name)
    best = -math.inf
    form = "{desc} |{bar:20}| {n_fmt}/{total_fmt} settings{postfix}"
    bar = tqdm(total=1, desc=f"tuning {name}", bar_format=form, disable=_off(), leave=False)
    with bar:
        for n_settings, event in events:
            bar.total = n_settings
            if isinstance(event, TrialEnded):
                if event.trial.value is not None and event.trial.value > best:
                    best = event.trial.value
                    bar.set_postfix_str(f"best {best:.4f}", refresh=False)
                bar.update()


def count(blocks: Iterable[int], total: int, unit: str) -> int:
    """Draws a bar over blocks of work; returns how much was done."""
    done = 0
    with tqdm(total=total, unit=unit, unit_scale=True, disable=None) as bar:
        for n in blocks:
            bar.update(n)
            done += n
    return done


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows on a terminal what is going on meanwhile."""
    _logger.info(what)
    with tqdm(desc=what, bar_format="{desc} {elapsed}", disable=_off(), leave=False):
        yield


def _off() -> bool | None:
    """Returns whether bars are off; None turns them off where there is no terminal."""
    return True if _is_quiet else None


def _ending(trial: FrozenTrial) -> str:
    """Returns how a trial ended, as a line."""
    setting = describe(journal.setting_of(trial))
    if not journal.is_trained(trial):
        return f"trial {trial.number} failed: {journal.failure_of(trial).reason} ({setting})"
    outcome = journal.outcome_of(trial)
    metrics = ", ".join(f"{label(name)} {value:.4f}" for name, value in outcome.metrics.items())
    state = "pruned" if outcome.pruned else "finished"
    return (
        f"trial {trial.number} {state}: {metrics} at epoch {outcome.best_epoch} of "
        f"{outcome.epochs}, {outcome.seconds:.1f} s ({setting})"
    )
