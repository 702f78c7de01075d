"""The Markdown that the UI shows on the page of a study's run."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from ncf.preparation import Prepared
from ncf.winner import Result


def describe_study(prepared: Prepared, study: optuna.Study, results: Sequence[Result]) -> str:
    """Returns what was searched, how, and what came of it."""
    data, experiment, k = prepared.facts, prepared.experiment, prepared.settings.k
    counts, trials = data.counts, study.get_trials(deepcopy=False)
    spaces = "\n".join(
        f"- `{name}`: {', '.join(distributions)}"
        for name, distributions in prepared.identity["space"].items()
    )
    rows = "\n".join(_row(result, k) for result in results)
    return f"""
{len(trials)} trials of GMF on **{data.name}**: {counts["users"]:,} users, {counts["items"]:,}
items, {counts["interactions"]:,} interactions; {counts["evaluated"]:,} users are evaluated.

| model | how it was found | validation nDCG@{k} | test HR@{k} | test nDCG@{k} | full nDCG@{k} | winner - it |
|---|---|---|---|---|---|---|
{rows}

Test was read once, with 95% bootstrap intervals over users; the last column is the difference of
test nDCG@{k} on the same users and candidates, and its p-value.

Protocol: {prepared.protocol}; {experiment.n_candidates} sampled negatives that the user never
touched, or the full catalogue; ties count against; study seed {prepared.settings.seed}; at most
{experiment.epochs} epochs, patience {experiment.patience}. Data fingerprint `{data.fingerprint}`.

Search space:
{spaces}
"""  # noqa: E501 - a row of a Markdown table is one line


def _row(result: Result, k: int) -> str:
    def with_interval(name: str, value: float) -> str:
        low, high = result.intervals[name]
        return f"{value:.4f} [{low:.4f}, {high:.4f}]"

    difference = ""
    if result.difference is not None:
        mean, low, high, p_value = result.difference
        difference = f"{mean:+.4f} [{low:+.4f}, {high:+.4f}], p {p_value:.2g}"
    cells = (
        f"**{result.name}**",
        result.note,
        f"{result.validation[f'ndcg_{k}']:.4f}",
        with_interval(f"hit_ratio_{k}", result.test[f"hit_ratio_{k}"]),
        with_interval(f"ndcg_{k}", result.test[f"ndcg_{k}"]),
        with_interval(f"full_ndcg_{k}", result.test_full[f"ndcg_{k}"]),
        difference,
    )
    return f"| {' | '.join(cells)} |"
