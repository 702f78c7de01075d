"""Studies, trials and versions in words: the Markdown that the UI shows, and parts of the report.

The UI breaks a line where the Markdown does, and shows the first lines only until it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ncf.models.gmf.setting import Hyperparameters, describe
from ncf.protocol.metrics import label
from ncf.trials.messages import Outcome

if TYPE_CHECKING:  # they load Optuna and MLflow
    import optuna

    from ncf.search.plan import Prepared
    from ncf.search.winner import Result

EXPERIMENT = (
    "A run named `study` is a search; its child runs are the trials. **Views**, top right: the "
    "trials of a study, best first, with charts."
)
REGISTERED_MODEL = (
    "Answers own user ids with the top k own item ids. The alias `champion` is the version in use: "
    "`python -m ncf models` lists the versions, `compare` and `promote` choose among them."
)


def describe_trial(outcome: Outcome, run_id: str) -> str:
    """Returns how a trial went and what can be done with it."""
    sampled, full = _in_words(outcome.metrics), _in_words(outcome.metrics_full)
    pruned = ", and pruned: other trials were better by then" if outcome.pruned else ""
    return (
        f"Best at epoch {outcome.best_epoch} of {outcome.epochs}{pruned}. Validation: {sampled}; "
        f"over the full catalogue {full}.\n\n"
        f"Again: `python search.py --repeat {run_id}`. To the model registry: "
        f"`python -m ncf register {run_id}`."
    )


def describe_confirmation(number: int) -> str:
    """Returns what a run of a fresh seed is."""
    return (
        f"Trial {number} trained again with a fresh seed: of the best trials, the one with the "
        "best mean over fresh seeds wins, not the luckiest."
    )


def describe_version(
    setting: Hyperparameters, fitted_on: str, validation: str, test: str = ""
) -> str:
    """Returns what a version of the registered model is."""
    test = f" Test, read once: {test}." if test else " Test was not read."
    return f"{describe(setting)}, fitted on {fitted_on}. Validation {validation}.{test}"


def describe_study(prepared: Prepared, study: optuna.Study, results: Sequence[Result]) -> str:
    """Returns what was searched, how, and what came of it, as Markdown."""
    data = prepared.facts
    counts, trials = data.counts, study.get_trials(deepcopy=False)
    verdict = describe_verdict(results, prepared.settings.k)
    spaces = "\n".join(
        f"- `{name}`: {' or '.join(map(_range, distributions))}"
        for name, distributions in prepared.identity["space"].items()
    )
    rows = [table_row(result, prepared.settings.k) for result in results]
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    sizes = ", ".join(f"{counts[name]:,} {name}" for name in ("users", "items", "interactions"))
    return f"""{verdict}

{len(trials)} trials of GMF on **{data.name}**: {sizes}; {counts["evaluated"]:,} users evaluated.

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


def describe_verdict(results: Sequence[Result], k: int) -> str:
    """Returns who won, what it came to on test and by how much it leads, in a sentence or two."""
    winner, *baselines = results
    setting = describe(Hyperparameters(**winner.setting))  # type: ignore[arg-type]
    hit_ratio, ndcg = winner.test[f"hit_ratio_{k}"], winner.test[f"ndcg_{k}"]
    words = (
        f"Winner: {winner.note}, {setting}. On test, read once: HR@{k} {hit_ratio:.4f}, "
        f"nDCG@{k} {ndcg:.4f}"
    )
    for baseline in baselines:
        if baseline.difference is not None:
            mean, _, _, p_value = baseline.difference
            words += f"; {mean:+.4f} over {baseline.name} (p {p_value:.2g})"
    return f"{words}."


def _in_words(metrics: dict[str, float]) -> str:
    return ", ".join(
        f"{label(name)} {value:.4f}" for name, value in metrics.items() if "mrr" not in name
    )


def _range(distribution: str) -> str:
    """Returns what Optuna's JSON of a distribution allows."""
    allowed = json.loads(distribution)["attributes"]
    if "choices" in allowed:
        return ", ".join(map(str, allowed["choices"]))
    return f"{allowed['low']} to {allowed['high']}{', log' if allowed['log'] else ''}"
