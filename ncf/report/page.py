"""The report of a study: one HTML page that needs nothing else, neither the net nor a server.

It holds plotly.js itself (5 MB) and forbids the browser to load anything (its content security
policy), so that it reads the same from a file, from MLflow's sandboxed frame and in ten years.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import optuna
from optuna.trial import FrozenTrial, TrialState
from plotly.offline import get_plotlyjs

from ncf.report.figures import FONT, INK, LIGHT, MUTED, Axis, axis_of, figures, reached, text_of
from ncf.search import journal

_STYLE = f"""
body {{ margin: 0 auto; max-width: 68rem; padding: 2rem 1.5rem 4rem; background: #fff;
  color: {INK}; font: 1rem/1.55 {FONT}; }}
h1 {{ margin: 0 0 1.2rem; font-size: 1.7rem; line-height: 1.25; }}
h2 {{ margin: 2.8rem 0 .3rem; font-size: 1.2rem; }}
p {{ max-width: 46rem; margin: .3rem 0 .7rem; }}
.note {{ color: {MUTED}; font-size: .92rem; }}
.tiles {{ display: flex; flex-wrap: wrap; gap: .8rem; margin: 0; }}
.tiles div {{ flex: 1 1 9rem; padding: .7rem 1rem; background: #f5f7f9; border-radius: 8px; }}
.tiles dt {{ color: {MUTED}; font-size: .82rem; }}
.tiles dd {{ margin: 0; font-size: 1.35rem; font-weight: 600; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .32rem .9rem .32rem 0; border-bottom: 1px solid {LIGHT}; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }}
th {{ color: {MUTED}; font-weight: 600; }}
th, .numbers td {{ white-space: nowrap; }}
.numbers th + th, .numbers td + td {{ padding: .32rem 0 .32rem 1.6rem; text-align: right; }}
pre {{ padding: .8rem 1rem; background: #f5f7f9; border-radius: 8px; white-space: pre-wrap; }}
"""
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:"
)


def build_report(
    study: optuna.Study,
    title: str,
    facts: Mapping[str, str],
    results: Sequence[Mapping[str, str]],
    protocol: str,
    command: str,
    k: int,
) -> str:
    """Returns the page as HTML.

    Args:
        study: What is reported: its trials hold the validation nDCG of each epoch as intermediate
            values and the best epoch's as their value.
        title: Heading of the page.
        facts: Rows of the table on the data.
        results: Rows of the results table, of the winner and of what it is compared with.
        protocol: How was split, sampled and chosen; blank lines part its paragraphs.
        command: What repeats the study.
        k: Cut-off of the metrics.
    """
    trials = study.get_trials(deepcopy=False)
    finished = journal.best_first(trials)
    pruned = [t for t in trials if t.state == TrialState.PRUNED and math.isfinite(reached(t))]
    axes = [axis_of(name, trials) for name in dict.fromkeys(n for t in trials for n in t.params)]
    objective = f"validation nDCG@{k}"
    sections = [
        _section("Results", "", _rows(results)),
        _section("What was searched", _fixed(trials), _space(axes, trials, finished)),
        *(_section(*figure) for figure in figures(study, axes, finished, pruned, objective)),
        _section("Data", "", _table((), facts.items())),
        _section("Protocol", "", "".join(f"<p>{escape(p)}</p>" for p in protocol.split("\n\n"))),
        _section(
            "Repeat it",
            "A trial's seed depends on the study's seed and the trial's number only.",
            f"<pre>{escape(command)}</pre>\n{_table((), _identity(study))}",
        ),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"{_tiles(trials, finished, objective)}\n{''.join(sections)}</body>\n</html>\n"
    )


# Words and tables


def _section(heading: str, note: str, body: str) -> str:
    note = f'<p class="note">{note}</p>\n' if note else ""
    return f"<section>\n<h2>{heading}</h2>\n{note}{body}\n</section>\n"


def _table(header: Sequence[str], rows: Iterable[Iterable[str]], kind: str = "") -> str:
    def row(tag: str, cells: Iterable[str]) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    head = row("th", header) if header else ""
    body = "\n".join(row("td", cells) for cells in rows)
    return f'<div class="wide"><table class="{kind}">\n{head}\n{body}\n</table></div>'


def _rows(results: Sequence[Mapping[str, str]]) -> str:
    if not results:
        return "<p>There are none yet.</p>"
    header = list(dict.fromkeys(name for row in results for name in row))
    return _table(header, ([row.get(name, "") for name in header] for row in results), "numbers")


def _tiles(trials: Sequence[FrozenTrial], finished: Sequence[FrozenTrial], objective: str) -> str:
    states = [trial.state for trial in trials]
    tiles = {
        "trials": str(len(trials)),
        "finished": str(states.count(TrialState.COMPLETE)),
        "pruned": str(states.count(TrialState.PRUNED)),
        "failed": str(states.count(TrialState.FAIL)),
    }
    if finished:
        tiles[f"best {objective}, trial {finished[0].number}"] = f"{reached(finished[0]):.4f}"
    cells = (f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles.items())
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def _space(
    axes: Sequence[Axis], trials: Sequence[FrozenTrial], finished: Sequence[FrozenTrial]
) -> str:
    shown = {"trial 0": trials[0]} if trials else {}
    if finished:
        shown[f"best (trial {finished[0].number})"] = finished[0]
    rows = (
        [axis.name, axis.searched]
        + [text_of(t.params[axis.name]) if axis.name in t.params else "-" for t in shown.values()]
        for axis in axes
    )
    return _table(("parameter", "searched", *shown), rows)


def _fixed(trials: Sequence[FrozenTrial]) -> str:
    names = {name for trial in trials for name in trial.params}
    settings = trials[0].user_attrs.get("hyperparameters", {}) if trials else {}
    fixed = [f"{name} {text_of(value)}" for name, value in settings.items() if name not in names]
    return f"The same in every trial: {escape(', '.join(fixed))}." if fixed else ""


def _identity(study: optuna.Study) -> list[tuple[str, str]]:
    identity = study.user_attrs.get("identity", {})
    settings = {"study": study.study_name, **identity}
    return [(n, text_of(v)) for n, v in settings.items() if not isinstance(v, dict)]
