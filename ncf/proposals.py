"""Which hyperparameters trial t trains: the same for any number of jobs.

Trial t is decided from the seed, the outcomes of the trials up to t - LAG and the parameters of
the trials after those, which Optuna's TPE then treats as still running, whether or not they have
ended by now. The decision is thus a function of the study's record alone: `--jobs 1` and `--jobs 4`
visit the same trials, and so does a search that was killed and continued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

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

    T = TypeVar("T", bound=DataclassInstance)

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


def propose(
    name: str,
    defaults: T,
    search_space: Callable[[optuna.Trial], T],
    trials: Sequence[FrozenTrial],
    seed: int,
    make_sampler: Callable[[int], BaseSampler] = tpe,
) -> tuple[T, FrozenTrial]:
    """Decides the next trial, number `len(trials)`.

    Args:
        name: Of what is searched, for messages.
        defaults: Trial 0, a dataclass.
        search_space: Given an Optuna trial, makes one setting of it.
        trials: All trials so far, by number.
        seed: Of the study.
        make_sampler: Makes a sampler of a seed.

    Returns:
        The setting, and the running Optuna trial to record.

    Raises:
        ValueError: The search space cannot make the defaults (trial 0).
    """
    number = len(trials)
    sampler = make_sampler(spawn_int(seed, Purpose.SAMPLER, number))
    view = optuna.create_study(direction="maximize", sampler=sampler)
    n_known = len(known_outcomes(trials, number))
    view.add_trials([*trials[:n_known], *map(_as_running, trials[n_known:])])
    if number == 0:
        view.enqueue_trial(asdict(defaults))
    trial = view.ask()
    try:
        setting = search_space(trial)
        running = _as_running(trial)
        if number == 0 and setting != defaults:
            raise ValueError(f"it made {setting} of {defaults}")
    except ValueError as error:
        if number > 0:
            raise
        raise ValueError(
            f"experiment {name}: the search space must be able to make the defaults; "
            "suggest each field under its own name and in a range that holds the default "
            f"({error})"
        ) from error
    return setting, running


class _Shared(FrozenTrial):
    """A trial that nothing changes any more, so that Optuna need not copy it to add it."""

    def __deepcopy__(self, memo: object) -> _Shared:
        return self


def shared(trial: FrozenTrial) -> FrozenTrial:
    """Returns what `propose` reads of an ended trial; at 1,000 trials it is five times as fast."""
    return _Shared(
        number=trial.number, trial_id=trial.number, state=trial.state, value=None,
        values=trial.values, params=trial.params, distributions=trial.distributions,
        intermediate_values=trial.intermediate_values, user_attrs={}, system_attrs={},
        datetime_start=trial.datetime_start, datetime_complete=trial.datetime_complete,
    )  # fmt: skip


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
