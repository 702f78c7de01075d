"""The report of a study: one HTML page that needs nothing else, neither the net nor a server.

It holds plotly.js itself (5 MB), and its content security policy forbids the browser to load
anything else. So it looks the same from a file, in MLflow's sandboxed frame and in ten years.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from jinja2 import StrictUndefined, Template
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from ncf.report import words
from ncf.report.checklist import checklist as answered
from ncf.report.parts import parts_note, parts_table
from ncf.study.agreement import agreement_of
from ncf.study.best import title_of
from ncf.study.cost import Cost
from ncf.study.plan import Plan
from ncf.study.results import Conclusion

_N_ABOVE = 3  # lines of the verdict above the table, so that both are on the first screen
_NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def report_study(
    study: optuna.Study, plan: Plan, conclusion: Conclusion, cost: Cost, code: str, command: str
) -> str:
    """Returns the page of a concluded study as HTML.

    Args:
        study: The study's record.
        plan: The plan of the study.
        conclusion: What the study ended with.
        cost: What it cost.
        code: The commit of the code.
        command: The command that repeats the study.
    """
    objective = plan.settings.objective
    found_out = words.findings(study, conclusion, objective)
    found = conclusion.breakdown
    alike = agreement_of(study, conclusion.best_trial.number)
    counts = plan.facts.counts
    n_cells = counts["users"] * counts["items"]
    facts = {
        "data set": plan.facts.name,
        **{name: f"{count:,}" for name, count in counts.items()},
        "sparsity": f"{1 - counts['interactions'] / n_cells:.2%}",
        "fingerprint": plan.facts.fingerprint,
    }
    return build_report(
        study,
        f"Study {plan.study_name}",
        "\n".join([words.headline(conclusion, objective.k), *found_out]),
        words.table_rows(conclusion, objective),
        facts,
        words.describe_protocol(plan),
        command,
        f"validation {objective.label}",
        conclusion.best_trial.number,
        answered(plan, study.get_trials(deepcopy=False), conclusion, cost, code, alike),
        (
            f"winner: {title_of(conclusion.winner)}, validation {objective.label}",
            f"{conclusion.winner.value(objective):.4f}",
        ),
        None if found is None else (parts_note(found, objective), parts_table(found)),
    )


def build_report(
    study: optuna.Study,
    title: str,
    verdict: str,
    results: Sequence[Mapping[str, str]],
    facts: Mapping[str, str],
    protocol: str,
    command: str,
    objective: str,
    winner: int | None = None,
    checklist: Mapping[str, str] | None = None,
    best: tuple[str, str] | None = None,
    parts: tuple[str, Sequence[Sequence[str]]] | None = None,
) -> str:
    """Returns the page as HTML.

    Args:
        study: The study. The trials hold the objective after each epoch as intermediate values,
            and that of their best epoch as their value.
        title: The heading of the page.
        verdict: The result of the study in sentences, a line each, what matters most first.
        results: The rows of the results table, for the winner and the baselines.
        facts: The rows of the table on the data.
        protocol: How the data were split and sampled and the winner chosen; blank lines separate
            its paragraphs.
        command: The command that repeats the study.
        objective: The name of the metric that the trials were chosen by: "validation nDCG@10".
        winner: The number of the trial that is the best of the study's.
        checklist: What reviewers ask, and the answers; None for no such section.
        best: The name and the value of the tile for the winner; None means the best trial's.
        parts: What the table of the results in parts shows, and its rows with a header; None for no
            such section.
    """
    # Only here, since plotly and scikit-learn take a second to load.
    from plotly.offline import get_plotlyjs

    from ncf.report.figures import COLORS, INK, draw_figures

    trials = study.get_trials(deepcopy=False)
    source = Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8")
    template = Template(
        source, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    html: str = template.render(
        title=title,
        verdict=verdict.splitlines(),
        n_above=_N_ABOVE,
        results=_table_of(results),
        tiles=_tiles(trials, objective, winner, best),
        facts=facts,
        fixed=_fixed(trials),
        space=_space(trials, winner),
        figures=list(draw_figures(trials, objective, winner)),
        protocol=protocol.split("\n\n"),
        checklist=checklist or {},
        parts=parts,
        command=command,
        identity=_identity(study),
        colors=COLORS,
        ink=INK,
        plotly_js=get_plotlyjs(),
    )
    return html


def _table_of(results: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Returns a header of all columns, and a row of cells for each result."""
    if not results:
        return []
    header = list(dict.fromkeys(name for row in results for name in row))
    return [header, *([_narrow(row.get(name, "")) for name in header] for row in results)]


def _narrow(cell: str) -> str:
    """Returns the cell with its interval, if any, on a line of its own, after the p-value."""
    value, bracket, rest = cell.partition(" [")
    interval, comma, p_value = rest.partition("], ")
    lines = [f"{value} {p_value}", f"[{interval}]"] if comma else [value, f"[{rest}"]
    return "\n".join(line.replace(" ", _NO_BREAK_SPACE) for line in lines) if bracket else cell


def _tiles(
    trials: Sequence[FrozenTrial],
    objective: str,
    winner: int | None,
    best: tuple[str, str] | None,
) -> dict[str, str | int]:
    states = [trial.state for trial in trials]
    tiles: dict[str, str | int] = {
        "trials": len(trials),
        "finished": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
    }
    if best is not None:
        tiles[best[0]] = best[1]
    elif winner is not None:
        value = trials[winner].value
        tiles[f"best trial ({winner}), {objective}"] = "-" if value is None else f"{value:.4f}"
    return tiles


def _space(trials: Sequence[FrozenTrial], winner: int | None) -> list[list[str]]:
    """Returns a header and a row for each searched parameter."""
    shown = {"trial 0": trials[0]} if trials else {}
    if winner is not None:
        shown[f"best trial ({winner})"] = trials[winner]
    searched: dict[str, list[str]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            ranges = searched.setdefault(name, [])
            if (text := _range(distribution)) not in ranges:
                ranges.append(text)
    rows = [
        [name, " or ".join(ranges), *(_text(t.params.get(name, "-")) for t in shown.values())]
        for name, ranges in searched.items()
    ]
    return [["parameter", "searched", *shown], *rows]


def _range(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    low, high = getattr(distribution, "low", None), getattr(distribution, "high", None)
    return f"{_text(low)} to {_text(high)}{', log' if getattr(distribution, 'log', False) else ''}"


def _fixed(trials: Sequence[FrozenTrial]) -> str:
    names = {name for trial in trials for name in trial.params}
    settings = trials[0].user_attrs.get("hyperparameters", {}) if trials else {}
    return ", ".join(f"{n} {_text(value)}" for n, value in settings.items() if n not in names)


def _identity(study: optuna.Study) -> list[tuple[str, str]]:
    settings = {"study": study.study_name, **study.user_attrs.get("identity", {})}
    return [(n, _text(value)) for n, value in settings.items() if not isinstance(value, dict)]


def _text(value: object) -> str:
    """Returns a setting as it is shown, floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
