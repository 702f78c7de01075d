"""A study in words, for its page in the MLflow UI and for the report."""

from __future__ import annotations

import json

import optuna

from ncf.models.table import describe
from ncf.protocol.metrics import Objective
from ncf.protocol.ranks import MOST_USERS
from ncf.report.contest import p_in_words, ranked, verdict, with_ends
from ncf.report.edges import edges_of
from ncf.study.best import title_of
from ncf.study.plan import Plan
from ncf.study.results import Conclusion, Result, counted


def describe_study(plan: Plan, n_trials: int, conclusion: Conclusion) -> str:
    """Returns a study's results, data, protocol and search space as Markdown.

    Args:
        plan: The plan of the study.
        n_trials: The number of its trials.
        conclusion: What the study ended with.
    """
    data = plan.facts
    counts = data.counts
    spaces = "\n".join(
        f"- `{name}`: {' or '.join(map(_range, distributions))}"
        for name, distributions in plan.identity["space"].items()
    )
    objective = plan.settings.objective
    k = objective.k
    rows = table_rows(conclusion, objective)
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    sentences = "\n".join(f"- {sentence}" for sentence in verdict(conclusion, objective))
    sizes = ", ".join(f"{counts[name]:,} {name}" for name in ("users", "items", "interactions"))
    return f"""{headline(conclusion, k)}

{sentences}

{counted(n_trials, "trial")} on **{data.name}**: {sizes}; {counts["evaluated"]:,} users evaluated.

{table}

{describe_protocol(plan)} Data fingerprint `{data.fingerprint}`.

The report with figures is `report.html`, below Artifacts. Search space:

{spaces}
"""


def findings(study: optuna.Study, conclusion: Conclusion, objective: Objective) -> list[str]:
    """Returns the verdict on a study, and which bounds its best trial is at, as sentences."""
    best_trial = study.get_trials(deepcopy=False)[conclusion.best_trial.number]
    return [*verdict(conclusion, objective), *edges_of(best_trial)]


def describe_protocol(plan: Plan) -> str:
    """Returns how trials are trained and how results are measured, in a few sentences."""
    experiment, objective = plan.experiment, plan.settings.objective
    split = ". ".join([plan.protocol, *plan.split.notes])
    full = f"{sentence}. " if (sentence := full_ranking(plan)) else ""
    return (
        f"Split: {split}. Trials see train and validation only; the winner and the others are "
        "fitted on train + validation, and then test is read; a study that reads it again says so. "
        "Candidates: "
        f"{experiment.n_sampled_negatives} items that the user never touched, or the full "
        "catalogue less the user's history; ties count against. Intervals: 95%, bootstrap over "
        f"users; the last columns are the differences of test {objective.sampled.label} on the "
        "same users and candidates, each with its own p-value. A trial trains at most "
        f"{experiment.epochs} epochs, and stops after "
        f"{experiment.patience} without a better validation {objective.label}. {full}"
        f"Study seed: {plan.settings.seed}."
    )


def full_ranking(plan: Plan) -> str:
    """Returns for whom trials rank the full catalogue, as a sentence; nothing where for all."""
    n_judges, objective = plan.n_judges, plan.settings.objective
    if plan.sample is not None:
        return (
            f"Trials and baselines rank the full catalogue for {plan.sample.n_users:,} of "
            f"{n_judges:,} users, always the same ones; test ranks it for all"
        )
    if objective.is_full and n_judges > MOST_USERS:  # a study that an older version began
        return f"Epochs rank the full catalogue for {MOST_USERS:,} users, always the same ones"
    return ""


def table_rows(conclusion: Conclusion, objective: Objective) -> list[dict[str, str]]:
    """Returns a row for each contestant, with what it was compared by on validation."""
    return [
        table_row(result, contestant.value(objective), objective)
        for result, contestant in ranked(conclusion, objective)
    ]


def table_row(result: Result, validation: float, objective: Objective) -> dict[str, str]:
    """Returns the cells of a result's row by column.

    Args:
        result: The result.
        validation: The contestant's objective on validation, by which it was compared.
        objective: The metric that the study maximises.
    """
    k = objective.k

    def with_interval(name: str, value: float) -> str:
        low, high = result.intervals[name]
        return f"{value:.4f} [{low:.4f}, {high:.4f}]"

    def with_p(difference: list[float] | None) -> str:
        return (
            "" if difference is None else f"{with_ends(difference)}, p {p_in_words(difference[3])}"
        )

    return {
        "model": title_of(result),
        "how it was found": result.note,
        f"validation {objective.label}": f"{validation:.4f}",
        f"test HR@{k}": with_interval(f"hit_ratio_{k}", result.test[f"hit_ratio_{k}"]),
        f"test nDCG@{k}": with_interval(f"ndcg_{k}", result.test[f"ndcg_{k}"]),
        f"full nDCG@{k}": with_interval(f"full_ndcg_{k}", result.test_full[f"ndcg_{k}"]),
        **_other(result, objective),
        "winner's lead": with_p(result.difference),
        "winner's lead, full": with_p(result.difference_full),
    }


def _other(result: Result, objective: Objective) -> dict[str, str]:
    """Returns the cell of an objective that has no column of its own; none where it has."""
    if objective.metric in ("ndcg", "hit_ratio", "full_ndcg"):
        return {}
    of_test = result.test_full if objective.is_full else result.test
    return {f"test {objective.label}": f"{objective.sampled.value(of_test):.4f}"}


def headline(conclusion: Conclusion, k: int) -> str:
    """Returns which contestant won, and its metrics on test, as a sentence."""
    winner = conclusion.results[0]
    hit_ratio, ndcg = (winner.test[f"{name}_{k}"] for name in ("hit_ratio", "ndcg"))
    return (
        f"Winner: {title_of(conclusion.winner)} ({winner.note}). "
        f"On test, {conclusion.reading}: HR@{k} {hit_ratio:.4f}, nDCG@{k} {ndcg:.4f}. "
        f"Its setting: {describe(conclusion.winner.setting)}."
    )


def _range(distribution: str) -> str:
    """Returns the values that a distribution allows, given as Optuna's JSON."""
    allowed = json.loads(distribution)["attributes"]
    if "choices" in allowed:
        return ", ".join(map(str, allowed["choices"]))
    return f"{allowed['low']} to {allowed['high']}{', log' if allowed['log'] else ''}"
