"""What a proposal may depend on: the seed, what is known by the lag rule, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import Setting
from ncf.study import proposals
from ncf.study.experiment import Experiment
from ncf.study.proposals import Proposals, describe_space, lag_for, n_known

LAG = 8
DEFAULTS = Hyperparameters(embedding_dim=32, learning_rate=0.01)
Space = Callable[[optuna.Trial], Hyperparameters]


def propose_for(
    experiment: Experiment, trials: Sequence[FrozenTrial], seed: int, lag: int = LAG
) -> tuple[Setting, FrozenTrial]:
    return proposals_for(experiment, seed, lag).next(trials)


def proposals_for(
    experiment: Experiment, seed: int, lag: int = LAG, digits: int | None = None
) -> Proposals[Setting]:
    space = experiment.search_space
    return Proposals(experiment.name, experiment.defaults, space, seed, lag, digits=digits)


def space(trial: optuna.Trial) -> Hyperparameters:
    return replace(
        DEFAULTS,
        embedding_dim=trial.suggest_categorical("embedding_dim", [16, 32, 64]),
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1.0, log=True),
    )


def experiment_of(search_space: Space, defaults: Hyperparameters = DEFAULTS) -> Experiment:
    return Experiment("toy", "toy", defaults, search_space)


EXPERIMENT = experiment_of(space)


def ended(
    trial: FrozenTrial, value: float | None, state: TrialState = TrialState.COMPLETE
) -> FrozenTrial:
    is_complete = state == TrialState.COMPLETE
    reported = {1: value} if value is not None else {}
    return create_trial(
        state=state,
        value=value if is_complete else None,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=reported,
    )


def value_of(trial: FrozenTrial) -> float:
    """Returns an nDCG that is best for a learning rate of 0.1."""
    return 0.5 - 0.1 * abs(math.log10(trial.params["learning_rate"]) + 1)


def searched(n_trials: int, seed: int = 0) -> list[FrozenTrial]:
    """Returns the trials of a search, each ended before the next was decided."""
    trials: list[FrozenTrial] = []
    for _ in range(n_trials):
        _, proposal = propose_for(EXPERIMENT, trials, seed)
        trials.append(ended(proposal, value_of(proposal)))
    return trials


NUMBER = 30  # a trial that is decided by TPE, not at random
TRIALS = searched(NUMBER)
FIRST_UNKNOWN = NUMBER - LAG + 1


def proposed(trials: Sequence[FrozenTrial], seed: int = 0, lag: int = LAG) -> Setting:
    return propose_for(EXPERIMENT, trials, seed, lag)[0]


@pytest.mark.parametrize(
    ("block", "n_trials", "lag"), [(proposals.BLOCK, NUMBER, LAG), (20, 60, LAG), (20, 60, 25)]
)
def test_a_search_that_goes_on_decides_as_one_that_was_interrupted_before_each_trial(
    block: int, n_trials: int, lag: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "BLOCK", block)
    monkeypatch.setattr(proposals, "N_REMEMBERED", 3)
    states = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    going_on, trials = proposals_for(EXPERIMENT, 0, lag), list[FrozenTrial]()
    for number in range(n_trials + 1):
        setting, proposal = going_on.next(trials)
        assert setting == proposed(trials, lag=lag)
        state = states[number % len(states)]
        value = None if state == TrialState.FAIL else value_of(proposal)
        trials.append(ended(proposal, value, state))
    assert proposed(trials, lag=lag) != proposed(searched(n_trials + 1), lag=lag)  # states matter


def test_rounded_numbers_are_what_is_trained_recorded_and_learned_from() -> None:
    going_on, trials = proposals_for(EXPERIMENT, 0, digits=3), list[FrozenTrial]()
    for _ in range(NUMBER):
        setting, proposal = going_on.next(trials)
        again = proposals_for(EXPERIMENT, 0, digits=3).next(trials)
        assert again[0] == setting  # as a search that was interrupted before each trial
        assert isinstance(setting, Hyperparameters)
        rate = setting.learning_rate
        assert proposal.params["learning_rate"] == rate == float(f"{rate:.3g}")
        trials.append(ended(proposal, value_of(proposal)))
    assert len({trial.params["learning_rate"] for trial in trials}) > NUMBER / 2


def test_a_rounded_number_stays_in_its_range() -> None:
    def narrow(trial: optuna.Trial) -> Hyperparameters:
        rate = trial.suggest_float("learning_rate", 0.010001, 0.010004)
        return replace(DEFAULTS, learning_rate=rate)

    defaults = replace(DEFAULTS, learning_rate=0.010002)
    setting, trial = proposals_for(experiment_of(narrow, defaults), 0, digits=3).next(
        [ended(propose_for(experiment_of(narrow, defaults), [], 0)[1], 0.5)]
    )
    assert isinstance(setting, Hyperparameters)
    assert setting.learning_rate == trial.params["learning_rate"] == 0.010001


def test_of_the_trials_before_the_last_block_only_the_best_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proposals, "BLOCK", 10)
    monkeypatch.setattr(proposals, "N_REMEMBERED", 8)
    before = proposed(TRIALS)
    old = range(20)  # trial 30 is the first of a block, and 20 the first of the last
    ranking = sorted(range(FIRST_UNKNOWN), key=lambda n: -value_of(TRIALS[n]))
    kept, forgotten = [n for n in ranking[:8] if n in old], [n for n in ranking[8:] if n in old]

    def changed(number: int, value: float) -> Setting:
        trials = [*TRIALS]
        trials[number] = ended(trials[number], value)
        return proposed(trials)

    assert len(forgotten) >= 12
    assert all(changed(number, -1.0) == before for number in forgotten)
    assert any(changed(number, -1.0) != before for number in kept)
    assert any(changed(number, 9.9) != before for number in range(20, FIRST_UNKNOWN))


# The first trial


def test_trial_0_is_the_defaults() -> None:
    for seed in range(3):
        hyperparameters, trial = propose_for(EXPERIMENT, [], seed)
        assert hyperparameters == DEFAULTS
        assert trial.params == {"embedding_dim": 32, "learning_rate": 0.01}
        assert trial.state == TrialState.RUNNING


@pytest.mark.filterwarnings("ignore:Fixed parameter")
@pytest.mark.parametrize(
    "defaults",
    [
        replace(DEFAULTS, learning_rate=2.0),  # beyond the range
        replace(DEFAULTS, embedding_dim=48),  # not a choice
        replace(DEFAULTS, n_negatives=9),  # another constant than the space's
    ],
    ids=["range", "choice", "constant"],
)
def test_a_space_that_cannot_make_the_defaults_is_refused(defaults: Hyperparameters) -> None:
    with pytest.raises(ValueError, match="toy: the search space must be able to make the defaults"):
        propose_for(experiment_of(space, defaults), [], seed=0)


def test_a_space_that_renames_a_field_is_refused() -> None:
    def renaming(trial: optuna.Trial) -> Hyperparameters:
        return replace(DEFAULTS, learning_rate=trial.suggest_float("lr", 1e-4, 1.0))

    with pytest.raises(ValueError, match="suggest each field under its own name"):
        propose_for(experiment_of(renaming), [], seed=0)


# The lag


def test_outcomes_after_the_lag_change_nothing() -> None:
    before = proposed(TRIALS)
    for state, value in (
        (TrialState.COMPLETE, 0.99),
        (TrialState.COMPLETE, 0.0),
        (TrialState.PRUNED, 0.01),
        (TrialState.FAIL, None),
        (TrialState.RUNNING, None),
    ):
        later = [ended(trial, value, state) for trial in TRIALS[FIRST_UNKNOWN:]]
        assert len(later) == LAG - 1
        assert proposed([*TRIALS[:FIRST_UNKNOWN], *later]) == before


def test_outcomes_up_to_the_lag_do() -> None:
    changed = {"first": 0, "last known": 0}
    for number in range(NUMBER - 6, NUMBER):  # one proposal may be the same by chance
        trials = TRIALS[:number]
        for name, index in (("first", 0), ("last known", number - LAG)):
            best = [*trials]
            best[index] = ended(trials[index], 9.9)
            changed[name] += proposed(best) != proposed(trials)
    assert changed["first"] >= 2
    assert changed["last known"] >= 2


def test_parameters_after_the_lag_count_as_running() -> None:
    """Else trials that train at the same time would be one and the same."""
    elsewhere = [
        create_trial(
            state=TrialState.RUNNING,
            params={"embedding_dim": 16, "learning_rate": 1e-4},
            distributions=trial.distributions,
        )
        for trial in TRIALS[FIRST_UNKNOWN:]
    ]
    assert proposed([*TRIALS[:FIRST_UNKNOWN], *elsewhere]) != proposed(TRIALS)


def test_a_trial_is_decided_from_those_up_to_the_lag_before_it() -> None:
    assert [n_known(number, LAG) for number in (0, LAG - 1, LAG, LAG + 1, NUMBER)] == [
        0, 0, 1, 2, FIRST_UNKNOWN,
    ]  # fmt: skip
    assert n_known(NUMBER, lag=1) == NUMBER


def test_another_lag_is_another_search() -> None:
    assert proposed(TRIALS, lag=LAG + 8) != proposed(TRIALS, lag=LAG)


def test_a_lag_longer_than_a_block_leaves_ended_trials_to_learn_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proposals, "BLOCK", 20)
    monkeypatch.setattr(proposals, "N_REMEMBERED", 1)
    lag, number = 25, 60
    searched_trials = searched(number)
    before, known = proposed(searched_trials, lag=lag), n_known(number, lag)

    def changed(number: int, value: float) -> bool:
        trials = [*searched_trials]
        trials[number] = ended(trials[number], value)
        return proposed(trials, lag=lag) != before

    best = max(range(known), key=lambda number: value_of(searched_trials[number]))
    assert any(changed(number, -1.0) for number in range(known - 20, known))
    assert not any(changed(number, -1.0) for number in range(known - 20) if number != best)


def test_up_to_four_jobs_begin_the_same_study() -> None:
    assert {lag_for(jobs) for jobs in range(1, 5)} == {8}
    assert lag_for(100) == 200


# Seeds and what is learnt


def test_the_seed_and_the_number_decide() -> None:
    assert proposed(TRIALS, seed=5) == proposed(TRIALS, seed=5)
    assert proposed(TRIALS, seed=5) != proposed(TRIALS, seed=6)
    assert [trial.params for trial in searched(12)] == [trial.params for trial in TRIALS[:12]]
    rates = {trial.params["learning_rate"] for trial in TRIALS}
    assert len(rates) == NUMBER  # no trial repeats another


def test_later_trials_are_nearer_to_the_best() -> None:
    def distance(trials: Sequence[FrozenTrial]) -> float:
        return sum(0.5 - value_of(trial) for trial in trials) / len(trials)

    assert distance(TRIALS[20:]) < 0.7 * distance(TRIALS[1:10])


def test_the_recorded_trial_is_what_was_proposed() -> None:
    hyperparameters, trial = propose_for(EXPERIMENT, TRIALS, 0)
    assert isinstance(hyperparameters, Hyperparameters)
    assert trial.params["learning_rate"] == hyperparameters.learning_rate
    assert trial.params["embedding_dim"] == hyperparameters.embedding_dim
    study = optuna.create_study()
    study.add_trial(trial)
    (recorded,) = study.get_trials()
    assert recorded.params == trial.params
    assert recorded.distributions == trial.distributions


# Describing the space


def branching(high: float, choices: Sequence[str] = ("sgd", "adam")) -> Space:
    """Returns a space with a range in a branch that only one choice takes."""

    def search_space(trial: optuna.Trial) -> Hyperparameters:
        name = trial.suggest_categorical("optimizer", choices)
        if name == "adam":
            rate = trial.suggest_float("learning_rate", 1e-4, high, log=True)
            return replace(DEFAULTS, optimizer="adam", learning_rate=rate)
        rate = trial.suggest_float("learning_rate", 0.01, 0.1, log=True)
        return replace(DEFAULTS, learning_rate=rate)

    return search_space


def test_the_description_holds_every_distribution_of_every_branch() -> None:
    described = describe_space(branching(0.02))
    assert list(described) == ["learning_rate", "optimizer"]
    assert len(described["learning_rate"]) == 2
    distributions: list[BaseDistribution] = [
        optuna.distributions.json_to_distribution(text) for text in described["learning_rate"]
    ]
    assert {distribution.low for distribution in distributions} == {1e-4, 0.01}  # type: ignore[attr-defined]


def test_the_description_is_the_same_every_time() -> None:
    assert describe_space(branching(0.02)) == describe_space(branching(0.02))
    assert describe_space(space) == describe_space(space)


def test_the_description_changes_with_any_range_or_choice() -> None:
    descriptions = [
        describe_space(branching(0.02)),
        describe_space(branching(0.03)),
        describe_space(branching(0.02, ("adam", "sgd"))),
        describe_space(branching(0.02, ("adam",))),
        describe_space(space),
    ]
    for n, description in enumerate(descriptions):
        assert description not in descriptions[:n]
