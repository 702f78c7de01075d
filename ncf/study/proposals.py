"""Decides which setting each trial trains; the same for any number of jobs.

Trial t is decided from the seed, the outcomes of the trials up to t - lag and the parameters of
the trials after those, which Optuna's TPE then treats as still running, whether or not they have
ended by now. The decision is thus a function of the study's record alone: `--jobs 1` and `--jobs 4`
visit the same trials, and so does a search that was killed and continued.

A study's lag is chosen when it begins and kept. No more trials than the lag can run at once, and
of so many workers nearly half would be idle, since each trial waits for all of those up to t - lag.

TPE takes longer the more trials it sees. So at the beginning of every block of BLOCK trials it
forgets all trials but those of the block before, the best of the others and, where the lag is a
block or more, as many of the latest that are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Generic, TypeVar, cast

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    distribution_to_json,
)
from optuna.samplers import BaseSampler
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from ncf.models.table import Setting, model_of
from ncf.protocol.seeds import Purpose, spawn_int

SHORTEST_LAG = 8  # of a study that is begun; experiments/benchmarks has the evidence
BLOCK = 100  # trials; TPE sees at most 350, and each of the first 200 is decided from all
N_REMEMBERED = 50  # best trials that are never forgotten; TPE models 25 as the good ones
N_RANDOM = 10  # trials that TPE must know the outcomes of before it decides
_N_PROBES = 64  # random settings by which a search space is explored

T = TypeVar("T", bound=Setting)

SearchSpace = Callable[[optuna.Trial], Setting]


def lag_for(jobs: int) -> int:
    """Returns the lag of a study that is begun with so many jobs, of which it keeps most busy."""
    return max(SHORTEST_LAG, 2 * jobs)


def n_known(number: int, lag: int) -> int:
    """Returns how many trials, counted from the first, trial `number` is decided from."""
    return max(0, number - lag + 1)


def tpe(seed: int) -> BaseSampler:
    """Returns Optuna's TPE sampler; experiments/benchmarks/choose_pruner.py compares it."""
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=N_RANDOM)


class Proposals(Generic[T]):
    """Decides the trials of one record, each when its turn comes."""

    def __init__(
        self,
        name: str,
        defaults: T,
        search_space: Callable[[optuna.Trial], T],
        seed: int,
        lag: int,
        make_sampler: Callable[[int], BaseSampler] = tpe,
        digits: int | None = None,
    ) -> None:
        """Prepares the decisions; `next` makes them.

        Args:
            name: The experiment's name in messages.
            defaults: The setting of trial 0, a dataclass.
            search_space: Makes one setting of an Optuna trial.
            seed: The seed of all decisions.
            lag: How far behind a trial those are from whose outcomes it is decided.
            make_sampler: Makes a sampler of a seed.
            digits: The significant digits of proposed numbers, as many as a table shows; None
                leaves them as the sampler drew them.
        """
        self._name = name
        self._defaults = defaults
        self._search_space = search_space
        self._seed = seed
        self._lag = lag
        self._make_sampler = make_sampler
        self._digits = digits
        self._block = 0
        self._forgotten: set[int] = set()
        self._empty_view()

    def _empty_view(self) -> None:
        """Makes the study in memory that TPE sees, where a trial ends only `lag` trials later."""
        self._view = optuna.create_study(direction="maximize")
        self._places: dict[int, int] = {}  # from a trial's number to its number in the view
        self._n_seen = 0  # trials of the record that have been added to the view, or forgotten
        self._n_told = 0  # trials of the record that have ended in the view, or are forgotten

    def next(self, trials: Sequence[FrozenTrial]) -> tuple[T, FrozenTrial]:
        """Decides the next trial, number `len(trials)`.

        Args:
            trials: All trials so far by number: those of the last call, and the ones since.

        Returns:
            The setting, and the Optuna trial to add to the record, in the state of running.

        Raises:
            ValueError: The search space cannot make the defaults (trial 0).
        """
        number = len(trials)
        if number // BLOCK != self._block:
            self._forget(trials, number // BLOCK)
        for unseen in range(self._n_seen, number):
            if unseen not in self._forgotten:
                self._places[unseen] = len(self._places)
                self._view.add_trial(_as_running(trials[unseen]))
        for untold in range(self._n_told, n_known(number, self._lag)):
            if untold not in self._forgotten:
                self._tell(self._places[untold], trials[untold])
            self._n_told = untold + 1
        self._view.sampler = self._make_sampler(spawn_int(self._seed, Purpose.SAMPLER, number))
        if number == 0:
            # a space of several models suggests which under the name "model"
            model = {"model": model_of(self._defaults).name}
            self._view.enqueue_trial(model | asdict(self._defaults))
        trial = self._view.ask()
        self._places[number] = len(self._places)
        self._n_seen = number + 1
        try:
            setting = self._search_space(trial)
            if number > 0 and self._digits is not None:
                running = self._rounded(trial, self._digits)
                setting = self._search_space(cast(optuna.Trial, FixedTrial(running.params)))
            else:
                running = _as_running(trial)
            if number == 0 and setting != self._defaults:
                raise ValueError(f"it made {setting} of the defaults {self._defaults}")
        except ValueError as error:
            if number > 0:
                raise
            raise ValueError(
                f"experiment {self._name}: the search space must be able to make the defaults; "
                "suggest each field under its own name and in a range that holds the default "
                f"({error})"
            ) from error
        return setting, running

    def _rounded(self, trial: optuna.Trial, digits: int) -> FrozenTrial:
        """Rounds the numbers of a trial in the view, so that TPE learns from what is trained."""
        distributions = trial.distributions  # a copy of all of them, at each call
        for name, value in trial.params.items():
            distribution = distributions[name]
            if isinstance(distribution, FloatDistribution) and distribution.step is None:
                near = min(max(float(f"{value:.{digits}g}"), distribution.low), distribution.high)
                self._view._storage.set_trial_param(trial._trial_id, name, near, distribution)
        return _as_running(self._view.get_trials(deepcopy=False)[-1])

    def _forget(self, trials: Sequence[FrozenTrial], block: int) -> None:
        """Begins a block of trials: what is forgotten depends on the number of the block alone."""
        known = trials[: n_known(block * BLOCK, self._lag)]
        values = {n: t.value or 0.0 for n, t in enumerate(known) if t.state == TrialState.COMPLETE}
        best = sorted(values, key=lambda n: -values[n])[:N_REMEMBERED]
        self._block = block
        seen = {*best}
        if self._lag >= BLOCK:  # else the block before has trials that have ended
            seen |= {*range(len(known) - BLOCK, len(known))}
        self._forgotten = {*range((block - 1) * BLOCK)} - seen
        self._empty_view()

    def _tell(self, number: int, ended: FrozenTrial) -> None:
        if ended.state == TrialState.COMPLETE:
            self._view.tell(number, ended.values)
            return
        if ended.intermediate_values:  # TPE ranks a pruned trial by the last one
            trial_id = self._view.get_trials(deepcopy=False)[number]._trial_id
            step, value = max(ended.intermediate_values.items())
            optuna.Trial(self._view, trial_id).report(value, step)
        self._view.tell(number, state=ended.state)


def describe_space(search_space: SearchSpace) -> dict[str, list[str]]:
    """Returns by parameter the distributions, as JSON, that random settings of the space show."""
    found: dict[str, set[str]] = {}
    for trial, _ in _probe(search_space):
        for name, distribution in trial.distributions.items():
            found.setdefault(name, set()).add(distribution_to_json(_plain(distribution)))
    return {name: sorted(found[name]) for name in sorted(found)}


def examples(search_space: SearchSpace) -> list[Setting]:
    """Returns random settings from all over the space."""
    return [setting for _, setting in _probe(search_space)]


def _probe(search_space: SearchSpace) -> Iterator[tuple[optuna.Trial, Setting]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(_N_PROBES):
        trial = study.ask()
        yield trial, search_space(trial)


def _as_running(trial: FrozenTrial | optuna.Trial) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING,
        params={name: _plain_value(value) for name, value in trial.params.items()},
        distributions={name: _plain(one) for name, one in trial.distributions.items()},
    )


def _plain(distribution: BaseDistribution) -> BaseDistribution:
    """Returns the distribution with Python's numbers as choices, which a record can hold."""
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution([*map(_plain_value, distribution.choices)])
    return distribution


def _plain_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
