"""The figures of a report: Optuna's own, in one set of colours, with pruned trials and the winner.

Each figure is a piece of HTML that expects plotly.js in the page around it. A pruned trial stands
at the best value that it reached before it was stopped. Importing this file loads plotly.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import optuna
import plotly.graph_objects as go
from optuna import visualization
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

INK = "#1f2933"
COLORS = {"winner": "#c2255c", "finished": "#2f6fab", "pruned": "#e0952f"}  # the first lie on top
_MIN_FOR_IMPORTANCE = 10
_MAX_FOR_FANOVA = 200  # it takes 3 s for 300; PED-ANOVA is as steady from here on
_N_COLUMNS = 4
_MARGIN = {"l": 64, "r": 24, "t": 16, "b": 48}
_CONFIG = {
    "displaylogo": False,
    "plotlyServerURL": "",
    "responsive": True,
    "showSendToCloud": False,  # a button that would upload the figure
}
# Every "<" of the JSON but that of the tag by which plotly hides the box beside a hover text.
_TAG = re.compile(r"\\u003c(?!(?:\\u002f)?extra\\u003e)")


@dataclass(frozen=True)
class Figure:
    """A section of the report.

    Attributes:
        heading: Its heading.
        note: What the figure shows, or why it is left out.
        html: The drawing, empty where it is left out.
    """

    heading: str
    note: str
    html: str


def draw_figures(
    trials: Sequence[FrozenTrial], objective: str, winner: int | None
) -> Iterator[Figure]:
    """Yields each figure that there is something to draw for.

    Args:
        trials: All trials of a study, with the metric after each epoch as intermediate values.
        objective: Name of the metric.
        winner: Number of the trial to stand out.
    """
    study = _study_of(trials)
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED and _curve(trial)]
    if not finished and not pruned:
        return
    kinds = dict.fromkeys((trial.number for trial in pruned), "pruned")
    kinds |= dict.fromkeys((trial.number for trial in finished), "finished")
    if winner is not None and kinds.get(winner) == "finished":
        kinds[winner] = "winner"
    yield Figure(
        "Optimisation history",
        "Every trial in the order of its start; failed trials have no value and are not drawn.",
        _history(study, trials, objective, kinds),
    )
    if any(map(_curve, finished)) or pruned:
        yield Figure("Learning curves", "A line per trial.", _curves(study, objective, kinds))
    if any(trial.params for trial in trials):
        yield _importance(study, finished, objective)
    if any(trial.params for trial in finished):
        yield Figure(
            "Parallel coordinates",
            "A line per finished trial, the better the darker.",
            _parallel(study, finished, objective, kinds),
        )
    if any(trial.params for trial in (*finished, *pruned)):
        yield Figure(
            "Parameter by parameter",
            "The trials against one parameter at a time. A flat top means that the value hardly "
            "matters, a top at the edge of what was searched that the range should be wider.",
            _slices(trials, objective, kinds),
        )


def _curve(trial: FrozenTrial) -> list[float]:
    """Returns the finite values among those after each epoch."""
    return [value for value in trial.intermediate_values.values() if math.isfinite(value)]


def _draw(figure: go.Figure, name: str, **layout: object) -> str:
    figure.update_layout(
        template="plotly_white", title=None, font_color=INK, showlegend=False, **layout
    )
    html: str = figure.to_html(_CONFIG, include_plotlyjs=False, full_html=False, div_id=name)
    return _TAG.sub(r"\\u0026lt;", html)  # plotly.js would make tags of them


def _history(
    study: optuna.Study, trials: Sequence[FrozenTrial], objective: str, kinds: dict[int, str]
) -> str:
    figure = visualization.plot_optimization_history(study, target_name=objective)
    figure.update_traces(selector={"mode": "lines"}, line={"color": INK, "shape": "hv"})
    figure.update_traces(selector={"mode": "markers"}, marker_color=COLORS["finished"])
    for kind, size in (("pruned", 6), ("winner", 12)):
        numbers = [number for number in kinds if kinds[number] == kind]
        figure.add_scatter(
            x=numbers,
            y=[_reached(trials[number]) for number in numbers],
            mode="markers",
            name=kind,
            marker={"color": COLORS[kind], "size": size},
        )
    figure.update_xaxes(title="trial")
    return _draw(figure, "history", height=380, margin=_MARGIN)


def _reached(trial: FrozenTrial) -> float:
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return trial.value
    return max(_curve(trial))


def _curves(study: optuna.Study, objective: str, kinds: dict[int, str]) -> str:
    figure = visualization.plot_intermediate_values(study)
    lines = {int(line.name.removeprefix("Trial")): line for line in figure.data}
    faint = max(0.1, min(0.5, 25 / (1 + len(lines))))
    for number, line in lines.items():
        if number in kinds:
            is_winner = kinds[number] == "winner"
            line.line = {"color": COLORS[kinds[number]], "width": 3 if is_winner else 1}
            line.mode = "lines" if len(line.x) > 1 else "markers"
            line.opacity = 1 if is_winner else faint
    order = list(COLORS)[::-1]  # the winner is drawn last, on top
    ended = sorted((n for n in lines if n in kinds), key=lambda n: order.index(kinds[n]))
    figure.data = [lines[number] for number in ended]
    figure.update_layout(xaxis_title="epoch", yaxis_title=objective)
    return _draw(figure, "curves", height=460, margin=_MARGIN)


def _importance(study: optuna.Study, finished: list[FrozenTrial], objective: str) -> Figure:
    heading = "Which parameters mattered"
    common = set.intersection(*(set(trial.params) for trial in finished)) if finished else set()
    varied = [name for name in common if len({str(t.params[name]) for t in finished}) > 1]
    reason = ""
    if len(finished) < _MIN_FOR_IMPORTANCE:
        reason = f"it takes {_MIN_FOR_IMPORTANCE} finished trials to tell"
    elif not varied:
        reason = "no parameter of all finished trials varied"
    elif len({trial.value for trial in finished}) == 1:
        reason = f"all finished trials have the same {objective}"
    if reason:
        return Figure(heading, f"Left out: {reason}.", "")
    is_small = len(finished) <= _MAX_FOR_FANOVA
    evaluator = FanovaImportanceEvaluator(seed=0) if is_small else PedAnovaImportanceEvaluator()
    figure = visualization.plot_param_importances(study, evaluator, params=sorted(common))
    figure.update_traces(marker_color=COLORS["finished"])
    figure.update_layout(xaxis_title=None, yaxis={"title": None, "type": "category"})
    note = f"{'fANOVA' if is_small else 'PED-ANOVA'} over the finished trials, shares of 1."
    if is_small:
        note += " Of fifty trials, a parameter that does nothing gets about 0.02, at worst 0.05."
    if any(set(trial.params) > common for trial in finished):
        note += " Parameters that only some trials have are left out."
    height = 74 + 34 * len(common)
    return Figure(heading, note, _draw(figure, "importance", height=height, margin=_MARGIN))


def _parallel(
    study: optuna.Study, finished: list[FrozenTrial], objective: str, kinds: dict[int, str]
) -> str:
    figure = visualization.plot_parallel_coordinate(study, target_name=objective)
    # A line begins at the trial's value, between 0 for the worst and 1 for the best. Nothing else
    # tells whose it is: Optuna sorts the lines. The last trace is the scale of their colours.
    lines = sorted(figure.data[:-1], key=lambda line: line.y[0])
    values = {trial.number: _reached(trial) for trial in finished}
    low, high = min(values.values()), max(values.values())
    winners = [value for number, value in values.items() if kinds[number] == "winner"]
    heights = [(value - low) / (high - low) if high > low else 0.5 for value in winners]
    found = [line for line in lines for height in heights if math.isclose(line.y[0], height)]
    if len(found) == 1:  # else others are as good, and any of the lines could be the winner's
        found[0].update(line={"color": COLORS["winner"], "width": 3}, opacity=1)
    figure.data = [*(line for line in lines if line not in found), *found]
    figure.update_xaxes(side="top")
    return _draw(figure, "parallel", height=440, margin={**_MARGIN, "t": 40, "b": 16})


def _slices(trials: Sequence[FrozenTrial], objective: str, kinds: dict[int, str]) -> str:
    # Optuna draws finished trials only.
    study = _study_of(_as_finished(t) if kinds.get(t.number) == "pruned" else t for t in trials)
    names = sorted({name for n in kinds for name in trials[n].params})
    rows = [names[start : start + _N_COLUMNS] for start in range(0, len(names), _N_COLUMNS)]
    figures = []
    for index, row in enumerate(rows):
        figure = visualization.plot_slice(study, row, target_name=objective)
        for points in figure.data:
            drawn = zip(points.x, points.y, points.marker.color, strict=True)
            winner_last = sorted(drawn, key=lambda point: kinds[point[2]] == "winner")
            x, y, numbers = zip(*winner_last, strict=True)  # Optuna colours by the number
            points.update(x=x, y=y, customdata=numbers)
            points.hovertemplate = "trial %{customdata}: %{x}, %{y:.4f}<extra></extra>"
            points.marker = {
                "color": [COLORS[kinds[number]] for number in numbers],
                "size": [11 if kinds[number] == "winner" else 7 for number in numbers],
                "opacity": 0.75,
            }
        figure.update_xaxes(exponentformat="power")
        for name, axis in zip(row, figure.select_xaxes(), strict=True):
            values = [trials[n].params[name] for n in kinds if name in trials[n].params]
            if axis.type == "log" and max(values) < 100 * min(values):
                # Ticks at 1, 2 and 5.
                axis.update(dtick="D2", minorloglabels="complete", exponentformat="none")
        figures.append(_draw(figure, f"slices{index}", height=300, margin=_MARGIN))
    return "\n".join(figures)


def _study_of(trials: Iterable[FrozenTrial]) -> optuna.Study:
    """Returns a study in memory: Optuna's figures copy all attributes of all trials many times."""
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        bare = copy.copy(trial)
        bare.user_attrs, bare.system_attrs = {}, {}
        study.add_trial(bare)
    return study


def _as_finished(trial: FrozenTrial) -> FrozenTrial:
    finished = copy.copy(trial)
    finished.state = TrialState.COMPLETE
    finished.value = _reached(trial)
    return finished
