"""Which hyperparameters trial t trains: the same for any number of jobs.

Trial t is decided from the seed, the outcomes of the trials up to t - LAG and the parameters of
the trials after those, which Optuna's TPE then treats as still running, whether or not they have
ended by now. The decision is thus a function of the study's record alone: `--jobs 1` and `--jobs 4`
visit the same trials, and so does a search that was killed and continued.

TPE's time grows with the trials that it sees. So at every BLOCK trials it forgets those of the
blocks before the last one, but for the best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Generic, TypeVar

import optuna
from optuna.distributions import distribution_to_json
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from ncf.models.table import Setting
from ncf.protocol.seeds import Purpose, spawn_int

LAG = 8  # the useful number of jobs; evidence in experiments/benchmarks
BLOCK = 100  # trials; so TPE sees at most 250, and each of the first 200 sees all before it
N_REMEMBERED = 50  # the best of all; TPE calls 25 of the trials good
_N_PROBES = 64

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

SearchSpace = Callable[[optuna.Trial], Setting]


def is_decidable(trials: Sequence[FrozenTrial], number: int) -> bool:
    """Returns whether every trial that trial `number` is decided from has ended."""
    return all(trial.state.is_finished() for trial in trials[: max(0, number - LAG + 1)])


def known_outcomes(trials: Sequence[FrozenTrial], number: int) -> Sequence[FrozenTrial]:
    """Returns the trials whose outcomes trial `number` may be decided from."""
    return trials[: max(0, number - LAG + 1)]


def tpe(seed: int) -> BaseSampler:
    """Returns the default sampler; evidence in experiments/benchmarks/choose_pruner.py."""
    return optuna.samplers.TPESampler(seed=seed)


class Proposals(Generic[T]):
    """Decides the trials of one study, each when its turn comes."""

    def __init__(
        self,
        name: str,
        defaults: T,
        search_space: Callable[[optuna.Trial], T],
        seed: int,
        make_sampler: Callable[[int], BaseSampler] = tpe,
    ) -> None:
        """Decides nothing yet.

        Args:
            name: Of what is searched, for messages.
            defaults: Trial 0, a dataclass.
            search_space: Given an Optuna trial, makes one setting of it.
            seed: Of the study.
            make_sampler: Makes a sampler of a seed.
        """
        self._name = name
        self._defaults = defaults
        self._search_space = search_space
        self._seed = seed
        self._make_sampler = make_sampler
        self._block = 0
        self._forgotten: set[int] = set()
        self._empty_view()

    def _empty_view(self) -> None:
        # In memory, with the trials that are not forgotten; it is told their outcomes LAG later.
        self._view = optuna.create_study(direction="maximize")
        self._places: dict[int, int] = {}  # the trials' numbers in the view
        self._n_seen = self._n_told = 0

    def next(self, trials: Sequence[FrozenTrial]) -> tuple[T, FrozenTrial]:
        """Decides the next trial, number `len(trials)`.

        Args:
            trials: All trials so far, by number; those of the last call, and what came after.

        Returns:
            The setting, and the running Optuna trial to record.

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
        for untold in range(self._n_told, len(known_outcomes(trials, number))):
            if untold not in self._forgotten:
                self._tell(self._places[untold], trials[untold])
            self._n_told = untold + 1
        self._view.sampler = self._make_sampler(spawn_int(self._seed, Purpose.SAMPLER, number))
        if number == 0:
            self._view.enqueue_trial(asdict(self._defaults))
        trial = self._view.ask()
        self._places[number] = len(self._places)
        self._n_seen = number + 1
        try:
            setting = self._search_space(trial)
            running = _as_running(trial)
            if number == 0 and setting != self._defaults:
                raise ValueError(f"it made {setting} of {self._defaults}")
        except ValueError as error:
            if number > 0:
                raise
            raise ValueError(
                f"experiment {self._name}: the search space must be able to make the defaults; "
                "suggest each field under its own name and in a range that holds the default "
                f"({error})"
            ) from error
        return setting, running

    def _forget(self, trials: Sequence[FrozenTrial], block: int) -> None:
        # A function of the block, whichever of its trials is the first that is decided here.
        known = known_outcomes(trials, block * BLOCK)
        values = {n: t.value or 0.0 for n, t in enumerate(known) if t.state == TrialState.COMPLETE}
        best = sorted(values, key=lambda n: -values[n])[:N_REMEMBERED]
        self._block = block
        self._forgotten = {*range((block - 1) * BLOCK)} - {*best}
        self._empty_view()

    def _tell(self, number: int, ended: FrozenTrial) -> None:
        if ended.state == TrialState.COMPLETE:
            self._view.tell(number, ended.values)
            return
        if ended.intermediate_values:  # by the last of which TPE ranks a pruned trial
            trial_id = self._view.get_trials(deepcopy=False)[number]._trial_id
            step, value = max(ended.intermediate_values.items())
            optuna.Trial(self._view, trial_id).report(value, step)
        self._view.tell(number, state=ended.state)


def describe_space(search_space: SearchSpace) -> dict[str, list[str]]:
    """Returns every distribution that the space suggests by name, as JSON, found by probing it."""
    found: dict[str, set[str]] = {}
    for trial, _ in _probe(search_space):
        for name, distribution in trial.distributions.items():
            found.setdefault(name, set()).add(distribution_to_json(distribution))
    return {name: sorted(found[name]) for name in sorted(found)}


def examples(search_space: SearchSpace) -> list[Setting]:
    """Returns some settings of the space, from all over it."""
    return [setting for _, setting in _probe(search_space)]


def _probe(search_space: SearchSpace) -> Iterator[tuple[optuna.Trial, Setting]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(_N_PROBES):
        trial = study.ask()
        yield trial, search_space(trial)


def _as_running(trial: FrozenTrial | optuna.Trial) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions
    )
