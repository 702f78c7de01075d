"""A study in words: the Markdown that the UI shows on its run's page, and parts of its report."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from ncf.preparation import Prepared
from ncf.winner import Result


def describe_study(prepared: Prepared, study: optuna.Study, results: Sequence[Result]) -> str:
    """Returns what was searched, how, and what came of it, as Markdown."""
    data = prepared.facts
    counts, trials = data.counts, study.get_trials(deepcopy=False)
    spaces = "\n".join(
        f"- `{name}`: {', '.join(distributions)}"
        for name, distributions in prepared.identity["space"].items()
    )
    rows = [table_row(result, prepared.settings.k) for result in results]
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"""
{len(trials)} trials of GMF on **{data.name}**: {counts["users"]:,} users, {counts["items"]:,}
items, {counts["interactions"]:,} interactions; {counts["evaluated"]:,} users are evaluated.

{table}

{describe_protocol(prepared)} Data fingerprint `{data.fingerprint}`.

The report with figures is `report.html`, below Artifacts. Search space:
{spaces}
"""


def describe_protocol(prepared: Prepared) -> str:
    """Returns how trials and results came about, in a few sentences."""
    experiment, k = prepared.experiment, prepared.settings.k
    return (
        f"Split: {prepared.protocol}. Trials see train and validation only; the winner and the "
        "baselines are fitted on train + validation, and test is read once. Candidates: "
        f"{experiment.n_candidates} items that the user never touched, or the full catalogue less "
        "the user's history; ties count against. Intervals: 95%, bootstrap over users; the last "
        f"column is the difference of test nDCG@{k} on the same users and candidates. A trial "
        f"trains at most {experiment.epochs} epochs, and stops after {experiment.patience} without "
        f"a better validation nDCG@{k}. Study seed: {prepared.settings.seed}."
    )


def table_row(result: Result, k: int) -> dict[str, str]:
    """Returns a result's cells by column."""

    def with_interval(name: str, value: float) -> str:
        low, high = result.intervals[name]
        return f"{value:.4f} [{low:.4f}, {high:.4f}]"

    difference = ""
    if result.difference is not None:
        mean, low, high, p_value = result.difference
        difference = f"{mean:+.4f} [{low:+.4f}, {high:+.4f}], p {p_value:.2g}"
    return {
        "model": result.name,
        "how it was found": result.note,
        f"validation nDCG@{k}": f"{result.validation[f'ndcg_{k}']:.4f}",
        f"test HR@{k}": with_interval(f"hit_ratio_{k}", result.test[f"hit_ratio_{k}"]),
        f"test nDCG@{k}": with_interval(f"ndcg_{k}", result.test[f"ndcg_{k}"]),
        f"full nDCG@{k}": with_interval(f"full_ndcg_{k}", result.test_full[f"ndcg_{k}"]),
        "winner - it": difference,
    }
