"""What reviewers of an offline evaluation ask, answered point by point from the study's record.

The points follow what surveys of the field found missing most often (Ferrari Dacrema et al., "A
Troubling Analysis of Reproducibility and Progress in Recommender Systems Research", TOIS 2021).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from optuna.trial import FrozenTrial, TrialState

from ncf.protocol.intervals import N_RESAMPLES
from ncf.study import journal
from ncf.study.best import title_of
from ncf.study.cost import WATTS, Cost
from ncf.study.plan import Plan
from ncf.study.results import Conclusion, counted, readings_in_words

_PACKAGES = ("numpy", "scipy", "numba", "optuna", "mlflow")


def checklist(
    plan: Plan,
    trials: Sequence[FrozenTrial],
    conclusion: Conclusion,
    cost: Cost,
    code: str,
    agreement: float | None = None,
) -> dict[str, str]:
    """Returns the answers by question.

    Args:
        plan: The plan of the study.
        trials: Its trials.
        conclusion: What it ended with.
        cost: What it cost.
        code: The commit of the code.
        agreement: The share of a list that two fresh seeds of the best trial have in common; None
            where it is not known.
    """
    return {
        "Which data, and how prepared?": _data(plan),
        "Which split, and does it see the future?": _split(plan),
        "What is ranked?": (
            f"Each held-out item among {plan.test_candidates.shape[1] - 1} items that the user "
            "never touched, the same for all models, and among the full catalogue; both are shown. "
            "Ties count against it."
        ),
        "What chose the winner?": _choice(plan, conclusion),
        "Were the baselines tuned as well?": _baselines(conclusion),
        "What was the budget?": _budget(plan, trials),
        "How many seeds?": _seeds(plan, conclusion, agreement),
        "Which statistics?": (
            f"95% intervals by {N_RESAMPLES:,} bootstrap resamples over users, differences on the "
            "same users and candidates, p-values by the same resamples, with Holm's correction "
            "over the comparisons in the verdict. They tell of other users of these data, and not "
            "of other data or other seeds."
        ),
        "What did it cost?": _cost(cost),
        "Which code and machine?": (
            f"This page was written by commit {code}; each run in MLflow names its own. "
            f"Python {platform.python_version()}, "
            f"{', '.join(f'{name} {version(name)}' for name in _PACKAGES)}; {platform.system()} on "
            f"{platform.machine()}, {os.cpu_count()} cores."
        ),
        "What does it not tell?": (
            "One data set was used, offline: nothing is established of other data, of what people "
            "would do with the lists, nor of fairness to users or items."
        ),
    }


def _data(plan: Plan) -> str:
    counts, source = plan.facts.counts, plan.source
    kept = "" if source.min_rating is None else f" Only ratings of {source.min_rating:g} and more."
    if source.drop_empty:
        told = [line for line in plan.interactions.columns_read if line.startswith("left out")]
        kept += f" {'. '.join(told).capitalize()}."
    return (
        f"{plan.facts.name}: {counts['users']:,} users, {counts['items']:,} items, "
        f"{counts['interactions']:,} interactions.{kept} A repeated pair of user and item counts "
        f"once, at its first time; nobody is filtered out. SHA-256 {plan.facts.fingerprint}."
    )


def _split(plan: Plan) -> str:
    future = (
        "Everything that is trained on is earlier than what is asked for."
        if plan.split.test_period is not None
        else "Models are trained on interactions of other users that are later than the item that "
        "is asked for; --split time avoids it."
    )
    return f"{'. '.join([plan.protocol, *plan.split.notes])}. {future}"


def _choice(plan: Plan, conclusion: Conclusion) -> str:
    read = readings_in_words(conclusion.readings) or "when it was read is not recorded"
    return (
        f"Validation {plan.settings.objective.label} alone: epochs, settings, trials and the "
        f"winner. Readings of test: {read}."
    )


def _baselines(conclusion: Conclusion) -> str:
    others = [one for one in conclusion.contestants if not one.is_trial]
    if not others:
        return "There are none."
    each = "; ".join(f"{title_of(one)}: {one.note}" for one in others)
    return (
        f"By the same code, on the same data, candidates and metric. {each}. The trials are of "
        f"{conclusion.best_trial.name}."
    )


def _budget(plan: Plan, trials: Sequence[FrozenTrial]) -> str:
    states = [trial.state for trial in trials]
    trained = [trial for trial in trials if journal.is_trained(trial)]
    epochs = sum(journal.outcome_of(trial).epochs for trial in trained)
    return (
        f"{counted(len(trials), 'trial')}: {states.count(TrialState.COMPLETE)} finished, "
        f"{states.count(TrialState.PRUNED)} stopped early, {states.count(TrialState.FAIL)} failed; "
        f"{counted(epochs, 'epoch')} of at most {plan.experiment.epochs} each. The search space "
        "stands above under What was searched."
    )


def _seeds(plan: Plan, conclusion: Conclusion, agreement: float | None) -> str:
    seeded: Mapping[str, int] = {
        title_of(one): len(one.seed_values) for one in conclusion.contestants if one.seed_values
    }
    again = ", ".join(f"{name} {number}" for name, number in seeded.items()) or "none"
    alike = ""
    if agreement is not None:
        alike = (
            f" Of a list of {plan.settings.objective.k}, {agreement:.0%} is the same for two fresh "
            "seeds of the best trial."
        )
    return (
        f"One study seed, {plan.settings.seed}, from which all others follow. Fresh seeds of the "
        f"best settings: {again}. The split and the candidates are the same for all of them, and "
        f"test was read with one seed.{alike}"
    )


def _cost(cost: Cost) -> str:
    if not cost.seconds:
        return "The record was made before processor seconds were kept."
    each = ", ".join(f"{name} {seconds:,.0f}" for name, seconds in cost.seconds.items())
    return (
        f"{cost.total:,.0f} processor seconds of training and judging ({each}), at {WATTS:g} W for "
        f"a busy core about {cost.watt_hours:.2g} watt-hours; the power was not measured."
    )
