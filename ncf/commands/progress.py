"""Progress: bars on a terminal, elsewhere a line now and then; and the log."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn

from optuna.trial import FrozenTrial, TrialState
from tqdm.auto import tqdm  # in a notebook with ipywidgets its bars are widgets

from ncf.models.table import describe, title
from ncf.protocol.metrics import label
from ncf.redaction import RedactingFormatter
from ncf.study import journal
from ncf.study.coordinator import Event, TrialEnded, TrialStarted
from ncf.study.results import counted
from ncf.trials.messages import EpochReport

_logger = logging.getLogger(__name__)
SILENCE = 30.0  # seconds after which a line is due where there is no terminal
_WORD_SECONDS = 10.0  # of waiting, after which it is said what for
_is_quiet = False  # set once: a process talks to one terminal


class _BesideBars(logging.Handler):
    """Writes above tqdm's bars; `logging_redirect_tqdm` would drop the handler's level."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


@dataclass
class _Standing:
    """The state of a study, counted trial by trial, from which the time left is estimated."""

    n_trials: int
    n_trained: int = 0
    seconds: float = 0.0
    states: Counter[TrialState] = field(default_factory=Counter)
    best: list[FrozenTrial] = field(default_factory=list)  # at most one trial

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
        if left := self._left(n_at_once):
            line += f"; about {left} left"
        return line

    def brief(self, n_at_once: int) -> str:
        """Returns the same in the order of what matters, as a narrow terminal cuts its end off."""
        parts = [f"best {best.value:.4f} (trial {best.number})" for best in self.best]
        if left := self._left(n_at_once):
            parts.append(f"{left} left")
        states = {"pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        parts += [f"{self.states[state]} {word}" for word, state in states.items()]
        return ", ".join(parts)

    def _left(self, n_at_once: int) -> str:
        """Returns the time left; empty where no trial tells it, or none is left."""
        if not 0 < self.n_trained < self.n_trials:
            return ""
        left = (self.n_trials - self.n_trained) * self.seconds / self.n_trained / n_at_once
        return str(tqdm.format_interval(left))


def set_up(quiet: bool, verbose: bool, log_file: str | None) -> None:
    """Sets what is shown of the progress, and up to which level messages are logged where.

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
    logging.raiseExceptions = False  # a full disk under the log file must not fill the terminal
    logging.basicConfig(handlers=handlers, level=logging.WARNING, force=True)
    logging.getLogger("ncf").setLevel(logging.INFO)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns where there is no home


def follow(
    events: Iterable[Event],
    trials: Sequence[FrozenTrial],
    n_trials: int,
    epochs: int,
) -> None:
    """Shows a search as it happens: bars on a terminal, elsewhere a line now and then.

    Args:
        events: The events that the coordinator yields.
        trials: The trials that the study has already.
        n_trials: The number of trained trials that the study is to have.
        epochs: The most epochs of a trial.
    """
    standing = _Standing(n_trials)
    for earlier in trials:
        if earlier.state.is_finished():
            standing.count(earlier)
    started: dict[int, float] = {}  # when the trials that run began, by number
    said_at = time.monotonic()
    off = _off()
    form = "{desc} |{bar:10}| {n_fmt}/{total_fmt}{postfix}"
    with (
        tqdm(total=n_trials, desc="study", bar_format=form, disable=off) as study,
        tqdm(total=epochs, desc="trial", unit="epoch", disable=off, leave=False) as trial,
    ):
        study.n = standing.n_trained
        study.set_postfix_str(standing.brief(n_at_once=1))
        for event in events:
            if isinstance(event, TrialStarted):
                started[event.number] = event.at
            elif isinstance(event, EpochReport):
                if event.number != min(started):
                    continue  # the bar is that of the trial that has been running the longest
                trial.set_description(f"trial {event.number}", refresh=False)
                trial.n = event.epoch
                trial.start_t = started[event.number]  # or the clock is that of the first trial
                trial.refresh()
            else:
                standing.count(event.trial)
                _logger.info(_ending(event.trial))
                n_at_once = max(1, len(started))
                started.pop(event.trial.number, None)
                study.n = standing.n_trained
                study.set_postfix_str(standing.brief(n_at_once))
                if study.disable and time.monotonic() - said_at > SILENCE:
                    said_at = time.monotonic()
                    say(standing.line(n_at_once))


def follow_baseline(name: str, events: Iterable[Event], n_settings: int) -> None:
    """Shows the tuning of a baseline: a bar on a terminal.

    Args:
        name: The baseline's name.
        events: The events that the coordinator yields.
        n_settings: The number of settings that are tried in all.
    """
    _logger.info("tuning %s", title(name))
    best = -math.inf
    settings = counted(n_settings, "setting")
    form = f"{{desc}} |{{bar:10}}| {{n_fmt}} of {settings} in {{elapsed}}{{postfix}}"
    bar = tqdm(
        total=n_settings, desc=f"tuning {title(name)}", bar_format=form, disable=_off(), leave=False
    )
    with bar, _ticking(bar):
        for event in events:
            if isinstance(event, TrialEnded):
                if event.trial.value is not None and event.trial.value > best:
                    best = event.trial.value
                    bar.set_postfix_str(f"best {best:.4f}", refresh=False)
                bar.update()


def count(blocks: Iterable[int], total: int, unit: str) -> int:
    """Draws a bar over the sizes of finished blocks of work; returns their sum."""
    done = 0
    with tqdm(total=total, unit=unit, unit_scale=True, disable=None) as bar:
        for n in blocks:
            bar.update(n)
            done += n
    return done


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows on a terminal what is being done, while the body runs; elsewhere if it takes long."""
    _logger.info(what)
    form = "{desc} {elapsed}"
    with tqdm(desc=what, bar_format=form, disable=_off(), leave=False) as bar, _ticking(bar):
        word = threading.Timer(_WORD_SECONDS, say, (f"{what}: for {_WORD_SECONDS:.0f} s so far",))
        word.daemon = True
        if bar.disable:
            with suppress(RuntimeError):  # no thread can be started; the word is not worth an error
                word.start()
        try:
            yield
        finally:
            word.cancel()


@contextmanager
def _ticking(bar: tqdm[NoReturn]) -> Iterator[None]:
    """Draws a bar again each second while the body runs, so that its clock is seen to go."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(1.0):
            bar.refresh()

    ticker = threading.Thread(target=tick, daemon=True, name="clock")
    try:
        if not bar.disable:
            with suppress(RuntimeError):  # no thread can be started; a clock that stands is no harm
                ticker.start()
        yield
    finally:
        ended.set()
        if ticker.ident is not None:
            ticker.join()  # it draws no more once the bar is closed


def say(line: str) -> None:
    """Prints a line of progress, unless the search is to be quiet."""
    if not _is_quiet:
        tqdm.write(line, file=sys.stderr)


def _off() -> bool | None:
    """Returns tqdm's `disable`: True for no bars, None for bars on a terminal alone."""
    return True if _is_quiet else None


def _ending(trial: FrozenTrial) -> str:
    """Returns a line that tells how a trial ended."""
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
