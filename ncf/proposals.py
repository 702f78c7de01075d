"""Which hyperparameters trial t trains: the same for any number of jobs.

Trial t is decided from the seed, the outcomes of the trials up to t - LAG and the parameters of
the trials after those, which Optuna's TPE then treats as still running, whether or not they have
ended by now. The decision is thus a function of the study's record alone: `--jobs 1` and `--jobs 4`
visit the same trials, and so does a search that was killed and continued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Generic, TypeVar

import optuna
from optuna.distributions import distribution_to_json
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from ncf.experiment import Hyperparameters
from ncf.seeds import Purpose, spawn_int

LAG = 8  # the useful number of jobs; evidence in experiments/benchmarks
_N_PROBES = 64

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

SearchSpace = Callable[[optuna.Trial], Hyperparameters]


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
        # In memory, with the same trials by number; it is told their outcomes LAG trials later.
        self._view = optuna.create_study(direction="maximize")
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
        for unseen in trials[self._n_seen :]:
            self._view.add_trial(_as_running(unseen))
        for ended in known_outcomes(trials, number)[self._n_told :]:
            self._tell(ended)
        self._view.sampler = self._make_sampler(spawn_int(self._seed, Purpose.SAMPLER, number))
        if number == 0:
            self._view.enqueue_trial(asdict(self._defaults))
        trial = self._view.ask()
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

    def _tell(self, ended: FrozenTrial) -> None:
        number, self._n_told = self._n_told, self._n_told + 1
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


def examples(search_space: SearchSpace) -> list[Hyperparameters]:
    """Returns some settings of the space, from all over it."""
    return [hyperparameters for _, hyperparameters in _probe(search_space)]


def _probe(search_space: SearchSpace) -> Iterator[tuple[optuna.Trial, Hyperparameters]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(_N_PROBES):
        trial = study.ask()
        yield trial, search_space(trial)


def _as_running(trial: FrozenTrial | optuna.Trial) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions
    )
