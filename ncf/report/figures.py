"""The figures of a report, as pieces of HTML that expect plotly.js in the page around them.

A pruned trial is drawn at the best validation nDCG that it reached before it was stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate

import optuna
import plotly.graph_objects as go
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState
from plotly.subplots import make_subplots

_FINISHED, _PRUNED = "#2f6fab", "#e0952f"
_BEST = ("#c2255c", "#6741d9", "#0b7a5c")  # the best three
INK, MUTED, LIGHT = "#1f2933", "#5b6875", "#e4e8ec"
_SCALE = ["#d5dfe9", "#7fa6cc", "#2f6fab", "#c2255c"]  # of lines, worst to best
_MIN_FOR_IMPORTANCE = 10
_MAX_FOR_FANOVA = 200  # it takes 3 s for 300; PED-ANOVA is as steady from here on
_N_COLUMNS = 3
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_TEXT = {"family": FONT, "size": 13, "color": INK}
_AXIS = {
    "automargin": True,
    "gridcolor": LIGHT,
    "title": {"font": _TEXT},
    "zeroline": False,
}
_LOOKS = {
    "font": _TEXT,
    "hoverlabel": {"align": "left", "font": _TEXT, "bgcolor": "#fff", "bordercolor": MUTED},
    "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    "margin": {"l": 64, "r": 40, "t": 48, "b": 52},
    "xaxis": _AXIS,
    "yaxis": _AXIS,
}


# Trials


def text_of(value: object) -> str:
    """Returns a setting as it is shown, floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def reached(trial: FrozenTrial) -> float:
    """Returns a finished trial's value, the best that another came to, or NaN if it has none."""
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return trial.value
    return max(_curve(trial).values(), default=math.nan)


def _curve(trial: FrozenTrial) -> dict[int, float]:
    """Returns the finite validation metrics by epoch."""
    values = sorted(trial.intermediate_values.items())
    return {epoch: round(value, 6) for epoch, value in values if math.isfinite(value)}


def _hover(trial: FrozenTrial) -> str:
    end = "pruned" if trial.state == TrialState.PRUNED else "finished"
    params = (escape(f"{name} {text_of(value)}") for name, value in trial.params.items())
    return "<br>".join([f"<b>trial {trial.number}</b>, {end}, {reached(trial):.4f}", *params])


@dataclass(frozen=True)
class Axis:
    """A searched parameter as positions to draw: its log10, or the index of its category.

    Attributes:
        name: The parameter's name.
        searched: Its range in words.
        positions: By trial number; a trial that was not asked for it is missing.
        low: The least position of the searched range.
        high: The greatest.
        ticks: Labels by position; none where plotly's own ticks do.
    """

    name: str
    searched: str
    positions: Mapping[int, float]
    low: float
    high: float
    ticks: Mapping[float, str]
    is_categorical: bool = False

    def spread(self, trials: Sequence[FrozenTrial]) -> list[float]:
        """Returns the trials' positions, those of a category beside each other."""
        width = 0.5 if self.is_categorical else 0.0
        return [self.positions[t.number] + width * (t.number * 0.618 % 1 - 0.5) for t in trials]


def axis_of(name: str, trials: Sequence[FrozenTrial]) -> Axis:
    """Returns the axis that holds every range and value that the trials have of a parameter."""
    having = [trial for trial in trials if name in trial.params]
    values = {trial.number: trial.params[name] for trial in having}
    distributions = [trial.distributions[name] for trial in having]
    choices = [
        c for d in distributions if isinstance(d, CategoricalDistribution) for c in d.choices
    ]
    if choices:
        labels = list(dict.fromkeys(map(str, choices)))
        positions = {number: float(labels.index(str(value))) for number, value in values.items()}
        ticks = {float(i): label for i, label in enumerate(labels)}
        return Axis(name, ", ".join(labels), positions, 0.0, len(labels) - 1.0, ticks, True)
    ranges = [d for d in distributions if isinstance(d, FloatDistribution | IntDistribution)]
    low = min([*values.values(), *(d.low for d in ranges)])
    high = max([*values.values(), *(d.high for d in ranges)])
    searched = f"{text_of(low)} to {text_of(high)}"
    if low > 0 and all(d.log for d in ranges):
        positions = {number: math.log10(value) for number, value in values.items()}
        ticks = {math.log10(value): f"{value:g}" for value in _log_ticks(low, high)}
        return Axis(name, f"{searched}, log", positions, math.log10(low), math.log10(high), ticks)
    is_short = all(isinstance(d, IntDistribution) for d in ranges) and high - low <= 10
    ticks = {float(n): str(n) for n in range(low, high + 1)} if is_short else {}
    return Axis(name, searched, values, low, high, ticks)


def _log_ticks(low: float, high: float) -> list[float]:
    """Returns round numbers in a range: 1, 2 and 5 times the powers of ten, or these alone."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{m}e{e}") for e in exponents for m in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) > 6:
        ticks = [tick for tick in ticks if math.log10(tick).is_integer()]
    return ticks if len(ticks) > 1 else [low, high]


# Figures


def figures(
    study: optuna.Study,
    axes: Sequence[Axis],
    finished: Sequence[FrozenTrial],
    pruned: Sequence[FrozenTrial],
    objective: str,
) -> Iterator[tuple[str, str, str]]:
    """Yields heading, note and HTML of each figure that there is something to draw for."""
    if not finished and not pruned:
        return
    yield (
        "Optimisation history",
        "Every trial in the order of its start. A pruned trial stands at the best that it reached "
        "before it was stopped; failed trials have no value and are not drawn.",
        _draw("history", _history(finished, pruned, objective)),
    )
    yield (
        "Learning curves",
        "A line per trial. The best three are thick, with a dot at the epoch that counts.",
        _draw("curves", _curves(finished, pruned, objective)),
    )
    yield "Which parameters mattered", *_importance(study, axes, finished, objective)
    if axes and finished:
        yield (
            "Parallel coordinates",
            "A line per finished trial. Drag along an axis to keep the lines that cross it there; "
            "drag the name of an axis to move it.",
            _draw("parallel", _parallel(axes, finished, objective)),
        )
    if axes:
        yield (
            "Parameter by parameter",
            "The trials against one parameter at a time. A flat top means that the value hardly "
            "matters, a top at the edge that the range should be wider.",
            _draw("slices", _slices(axes, finished, pruned, objective)),
        )


def _draw(name: str, figure: go.Figure) -> str:
    figure.layout.template = {"layout": _LOOKS}
    config = {
        "displaylogo": False,
        "plotlyServerURL": "",
        "responsive": True,
        "showSendToCloud": False,  # a button that would upload the figure
    }
    html: str = figure.to_html(config, include_plotlyjs=False, full_html=False, div_id=name)
    return html


def _points(
    trials: Sequence[FrozenTrial], x: Sequence[float], name: str, color: str, **marker: object
) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=[round(reached(trial), 6) for trial in trials],
        mode="markers",
        name=name,
        legendgroup=name,
        marker={"color": color, "size": 7, "opacity": 0.75, **marker},
        hovertext=[_hover(trial) for trial in trials],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _groups(
    finished: Sequence[FrozenTrial], pruned: Sequence[FrozenTrial]
) -> list[tuple[Sequence[FrozenTrial], str, str, dict[str, object]]]:
    """Returns the trials by how they ended, with the name and the looks of their points."""
    return [
        (pruned, "pruned", _PRUNED, {"symbol": "x", "size": 6}),
        (finished[1:], "finished", _FINISHED, {}),
        (finished[:1], "best", _BEST[0], {"size": 11, "opacity": 1}),
    ]


def _history(
    finished: Sequence[FrozenTrial], pruned: Sequence[FrozenTrial], objective: str
) -> go.Figure:
    by_number = sorted(finished, key=lambda trial: trial.number)
    line = go.Scatter(
        x=[trial.number for trial in by_number],
        y=list(accumulate((round(reached(trial), 6) for trial in by_number), max)),
        mode="lines",
        name="best so far",
        line={"color": INK, "width": 1.5, "shape": "hv"},
        hoverinfo="skip",
    )
    points = [
        _points(trials, [trial.number for trial in trials], name, color, **marker)
        for trials, name, color, marker in _groups(finished, pruned)
        if trials
    ]
    figure = go.Figure([line, *points])
    return figure.update_layout(height=380, xaxis_title="trial", yaxis_title=objective)


def _curves(
    finished: Sequence[FrozenTrial], pruned: Sequence[FrozenTrial], objective: str
) -> go.Figure:
    best = finished[: len(_BEST)]
    faint = max(0.3, min(0.7, 40 / (1 + len(finished) + len(pruned))))
    groups = [
        ("pruned", _PRUNED, faint, 1.0, pruned),
        ("finished", _FINISHED, faint, 1.0, finished[len(best) :]),
    ]
    groups += [
        (f"trial {trial.number}: {reached(trial):.4f}", color, 1.0, 2.5, [trial])
        for trial, color in zip(best, _BEST, strict=False)
    ]
    traces = []
    for name, color, opacity, width, trials in groups:
        for trial in trials:
            curve = _curve(trial)
            top = max(curve.values(), default=math.nan) if width > 1 else math.nan
            has_dot = [len(curve) == 1 or value == top for value in curve.values()]
            traces.append(
                {
                    "type": "scatter",
                    "x": list(curve),
                    "y": list(curve.values()),
                    "mode": "lines+markers" if any(has_dot) else "lines",
                    "name": name,
                    "legendgroup": name,
                    "showlegend": trial is trials[0],
                    "opacity": opacity,
                    "line": {"color": color, "width": width},
                    "marker": {"size": [8 if dot else 0 for dot in has_dot]},
                    "hovertemplate": f"epoch %{{x}}: %{{y:.4f}}<br>{_hover(trial)}<extra></extra>",
                }
            )
    figure = go.Figure(traces)
    return figure.update_layout(height=460, xaxis_title="epoch", yaxis_title=objective)


def _importance(
    study: optuna.Study, axes: Sequence[Axis], finished: Sequence[FrozenTrial], objective: str
) -> tuple[str, str]:
    """Returns the note and the figure, or why there is none."""
    common = [axis for axis in axes if all(t.number in axis.positions for t in finished)]
    if len(finished) < _MIN_FOR_IMPORTANCE:
        return "", f"<p>Left out: it takes {_MIN_FOR_IMPORTANCE} finished trials to tell.</p>"
    if not any(len({axis.positions[t.number] for t in finished}) > 1 for axis in common):
        return "", "<p>Left out: no parameter of all finished trials varied.</p>"
    if len({reached(trial) for trial in finished}) == 1:
        return "", f"<p>Left out: all finished trials have the same {objective}.</p>"
    is_small = len(finished) <= _MAX_FOR_FANOVA
    shares = optuna.importance.get_param_importances(
        study,
        evaluator=FanovaImportanceEvaluator(seed=0) if is_small else PedAnovaImportanceEvaluator(),
        params=[axis.name for axis in common],
    )
    method = "fANOVA" if is_small else "PED-ANOVA"
    note = f"{method} over the finished trials, shares of 1."
    if is_small:
        note += " Of fifty trials, a parameter that does nothing gets about 0.02, at worst 0.05."
    if len(common) < len(axes):
        note += " Parameters that only some trials have are left out."
    names = sorted(shares, key=lambda name: shares[name])
    bars = go.Bar(
        x=[shares[name] for name in names],
        y=names,
        orientation="h",
        marker={"color": _FINISHED},
        texttemplate="%{x:.2f}",
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure = go.Figure(bars).update_layout(height=74 + 34 * len(names), bargap=0.35, margin_t=12)
    figure.update_yaxes(ticksuffix="  ", type="category", showgrid=False)
    return note, _draw("importance", figure)


def _parallel(axes: Sequence[Axis], finished: Sequence[FrozenTrial], objective: str) -> go.Figure:
    worst_first = finished[::-1]  # the best are drawn last, on top
    dimensions = []
    for axis in axes:
        span = axis.high - axis.low or 1.0
        low, ticks = axis.low, dict(axis.ticks)
        if any(trial.number not in axis.positions for trial in finished):
            ticks = ticks or {axis.low: text_of(axis.low), axis.high: text_of(axis.high)}
            low = axis.low - 0.2 * span
            ticks[low] = "none"
        dimension = {
            "label": escape(axis.name),
            "values": [axis.positions.get(trial.number, low) for trial in worst_first],
            "range": [low, axis.low + span],
        }
        if ticks:
            dimension |= {"tickvals": list(ticks), "ticktext": list(map(escape, ticks.values()))}
        dimensions.append(dimension)
    values = [reached(trial) for trial in worst_first]
    most = values[-1]
    least = min(values[0], most - 0.001)
    dimensions.append({"label": objective.split()[-1], "values": values, "range": [least, most]})
    lines = go.Parcoords(
        dimensions=dimensions,
        line={
            "color": values,
            "colorscale": _SCALE,
            # The worst quarter looks alike: it would else take most of the scale.
            "cmin": min(values[len(values) // 4], most - 1e-6),
            "cmax": most,
        },
        unselected={"line": {"color": LIGHT, "opacity": 0.4}},
        rangefont={"color": "rgba(0,0,0,0)"},  # unrounded, and the ticks tell
    )
    return go.Figure(lines).update_layout(height=440)


def _slices(
    axes: Sequence[Axis],
    finished: Sequence[FrozenTrial],
    pruned: Sequence[FrozenTrial],
    objective: str,
) -> go.Figure:
    n_columns = min(_N_COLUMNS, len(axes))
    n_rows = math.ceil(len(axes) / n_columns)
    figure = make_subplots(
        n_rows,
        n_columns,
        shared_yaxes="all",
        horizontal_spacing=0.03,
        vertical_spacing=90 / (280 * n_rows),
    )
    named: set[str] = set()
    for index, axis in enumerate(axes):
        row, column = index // n_columns + 1, index % n_columns + 1
        for trials, name, color, marker in _groups(finished, pruned):
            having = [trial for trial in trials if trial.number in axis.positions]
            points = _points(having, axis.spread(having), name, color, **marker)
            points.showlegend = bool(having) and name not in named
            named |= {name} if having else set()
            figure.add_trace(points, row, column)
        pad = 0.5 if axis.is_categorical else 0.04 * (axis.high - axis.low) or 0.5
        figure.update_xaxes(
            title={"text": escape(axis.name), "standoff": 6},
            range=[axis.low - pad, axis.high + pad],
            row=row,
            col=column,
        )
        if axis.ticks:
            figure.update_xaxes(
                tickvals=list(axis.ticks),
                ticktext=list(map(escape, axis.ticks.values())),
                row=row,
                col=column,
            )
    figure.update_yaxes(title={"text": objective}, col=1)
    return figure.update_layout(height=280 * n_rows + 60)
