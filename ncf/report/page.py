"""The report of a study: one HTML page that needs nothing else, neither the net nor a server.

It holds plotly.js itself (5 MB) and forbids the browser to load anything (its content security
policy), so that it reads the same from a file, from MLflow's sandboxed frame and in ten years.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from jinja2 import StrictUndefined, Template
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

_NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


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
) -> str:
    """Returns the page as HTML.

    Args:
        study: What is reported: its trials hold the objective after each epoch as intermediate
            values and the best epoch's as their value.
        title: Heading of the page.
        verdict: What came of the study, in a sentence or two.
        results: Rows of the results table, of the winner and of what it is compared with.
        facts: Rows of the table on the data.
        protocol: How was split, sampled and chosen; blank lines part its paragraphs.
        command: What repeats the study.
        objective: Name of the metric that the trials were chosen by, "validation nDCG@10".
        winner: Number of the trial that won.
    """
    from plotly.offline import get_plotlyjs

    from ncf.report.figures import (
        COLORS,
        INK,
        draw_figures,
    )  # plotly and scikit-learn take a second to load

    trials = study.get_trials(deepcopy=False)
    source = Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8")
    template = Template(
        source, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    html: str = template.render(
        title=title,
        verdict=verdict,
        results=_table_of(results),
        tiles=_tiles(trials, objective, winner),
        facts=facts,
        fixed=_fixed(trials),
        space=_space(trials, winner),
        figures=list(draw_figures(trials, objective, winner)),
        protocol=protocol.split("\n\n"),
        command=command,
        identity=_identity(study),
        colors=COLORS,
        ink=INK,
        plotly_js=get_plotlyjs(),
    )
    return html


def _table_of(results: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Returns a header of all columns, and the rows."""
    if not results:
        return []
    header = list(dict.fromkeys(name for row in results for name in row))
    return [header, *([_narrow(row.get(name, "")) for name in header] for row in results)]


def _narrow(cell: str) -> str:
    """Returns the cell with what follows its value, an interval, in one piece below it."""
    value, bracket, interval = cell.partition(" [")
    return f"{value}\n[{interval.replace(' ', _NO_BREAK_SPACE)}" if bracket else cell


def _tiles(
    trials: Sequence[FrozenTrial], objective: str, winner: int | None
) -> dict[str, str | int]:
    states = [trial.state for trial in trials]
    tiles: dict[str, str | int] = {
        "trials": len(trials),
        "finished": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
    }
    if winner is not None:
        value = trials[winner].value
        tiles[f"winner (trial {winner}), {objective}"] = "-" if value is None else f"{value:.4f}"
    return tiles


def _space(trials: Sequence[FrozenTrial], winner: int | None) -> list[list[str]]:
    """Returns a header and a row for each searched parameter."""
    shown = {"trial 0": trials[0]} if trials else {}
    if winner is not None:
        shown[f"winner (trial {winner})"] = trials[winner]
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
