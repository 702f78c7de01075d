"""The command `trials`: a study's trials, best first, or two of them side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from mlflow.entities import Run
    from optuna.trial import FrozenTrial

_ALWAYS = ("number", "state")  # columns that `--only-changed` keeps
_DIGITS = 6  # significant digits of a number; a terminal has room for fewer
_DIGITS_ON_TERMINAL = 4


def show(study: optuna.Study, sort_by: str | None, only_changed: bool, as_json: bool) -> None:
    """Prints a row for each ended trial.

    Args:
        study: The study.
        sort_by: The column to sort by, the largest first; None means the objective.
        only_changed: Whether to leave out columns that hold one value alone.
        as_json: Whether to print JSON.

    Raises:
        ValueError: There is no such column.
    """
    from ncf.commands import frames, tables

    table = frames.trials_of(study)
    if table.empty:
        print("no trial has ended yet", file=sys.stderr)
    elif sort_by is not None and sort_by not in table:
        raise ValueError(f"--sort-by {sort_by}: the columns are {', '.join(map(str, table))}")
    else:
        # `value` is the objective of a finished trial; pruned and failed trials come after
        if (by := sort_by or "value") in table:  # not where all trials have failed
            table = table.sort_values(by, ascending=False, kind="stable", na_position="last")
    if only_changed and len(table) > 1:
        table = table[[name for name in table if name in _ALWAYS or _differs(table[name])]]
    is_wide = as_json or not sys.stdout.isatty()
    digits = _DIGITS if is_wide else _DIGITS_ON_TERMINAL
    rows = [
        {str(name): _cell(cell, digits) for name, cell in row.items()}
        for row in table.to_dict("records")
    ]
    tables.show_rows(rows, as_json)


def show_two(
    study: optuna.Study, numbers: Sequence[int], tracking_uri: str | None, as_json: bool
) -> None:
    """Prints two trials side by side: what differs, and on validation a paired interval over users.

    Args:
        study: The study.
        numbers: The numbers of the two trials.
        tracking_uri: The MLflow store with their models; None means the usual one.
        as_json: Whether to print JSON.

    Raises:
        ValueError: There are no such trials, or one of them was not trained.
    """
    from ncf.commands import tables

    trials = [_trained(study, number) for number in numbers]
    rows = _facts(trials)
    try:
        measured = _measured(study, numbers, tracking_uri)
    except ValueError as error:
        print(f"no interval of their difference: {error}", file=sys.stderr)
        measured = _means(trials)
    else:
        print(
            "On validation, over the same users and candidates: the difference is the first less "
            "the second, low and high are the ends of its 95% interval over users. Trials were "
            "chosen by validation, and each was trained with one seed.",
            file=sys.stderr,
        )
    names = [f"trial {number}" for number in numbers]
    if as_json or not sys.stdout.isatty():
        empty = dict.fromkeys(measured[0], "")
        tables.show_rows([*measured, *({**empty, **row} for row in rows)], as_json)
        return
    tables.show_rows(measured, as_json)
    print()
    if rows:
        rows = [{"differs": row.pop("metric"), **row} for row in rows]
        tables.show_rows(rows, as_json)
    else:
        print(f"{' and '.join(names)} have the same setting")


def _trained(study: optuna.Study, number: int) -> FrozenTrial:
    """Returns a trial that finished or was pruned."""
    from ncf.study import journal

    trials = study.get_trials(deepcopy=False)
    if number >= len(trials):
        has = f"its last is {len(trials) - 1}" if trials else "it has none yet"
        raise ValueError(f"study {study.study_name} has no trial {number}: {has}")
    if not journal.is_trained(trials[number]):
        state = trials[number].state.name.lower()
        raise ValueError(
            f"trial {number} of study {study.study_name} has no results: it is {state}"
        )
    return trials[number]


def _facts(trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """Returns a row for each fact of two trials that differs: how they ended, their settings."""
    from ncf.models.table import title
    from ncf.study import journal

    facts: list[dict[str, Any]] = []
    for trial in trials:
        outcome = journal.outcome_of(trial)
        facts.append(
            {
                "state": "pruned" if outcome.pruned else "finished",
                "epochs": outcome.epochs,
                "best epoch": outcome.best_epoch,
                "seconds": round(outcome.seconds, 1),
                "model": title(trial.user_attrs.get("model", "gmf")),
                **trial.user_attrs["hyperparameters"],
            }
        )
    names = [f"trial {trial.number}" for trial in trials]
    return [
        {"metric": fact} | {n: _cell(one.get(fact), 4) for n, one in zip(names, facts, strict=True)}
        for fact in dict.fromkeys([*facts[0], *facts[1]])
        if facts[0].get(fact) != facts[1].get(fact)
    ]


def _means(trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """Returns a row for each validation metric of two trials, as they were recorded."""
    from ncf.protocol.metrics import label
    from ncf.study import journal

    names = [f"trial {trial.number}" for trial in trials]
    values = []
    for trial in trials:
        outcome = journal.outcome_of(trial)
        full = {f"full_{name}": value for name, value in outcome.metrics_full.items()}
        values.append(outcome.metrics | full)
    return [
        {"metric": label(metric)}
        | {name: round(one[metric], 4) for name, one in zip(names, values, strict=True)}
        for metric in values[0]
        if "mrr" not in metric and metric in values[1]
    ]


def _measured(
    study: optuna.Study, numbers: Sequence[int], tracking_uri: str | None
) -> list[dict[str, Any]]:
    """Returns a row for each validation metric of two trials, with their paired difference.

    Raises:
        ValueError: MLflow has no model of one of them, or not what they were asked for.
    """
    from ncf.tracking import cleaning, comparison, store  # only here: MLflow takes seconds

    client = store.open_client(tracking_uri or store.default_uri())
    runs = cleaning.runs_of(client, study.user_attrs["id"])
    models = cleaning.trials_with_models(client, runs, cleaning.models_of(client, runs))
    if missing := [number for number in numbers if number not in models]:
        raise ValueError("; ".join(why_missing(runs, number) for number in missing))
    ids = {f"trial {number}": str(models[number][0].model_id) for number in numbers}
    return comparison.compare_trials(client, study.user_attrs["mlflow_run"], ids)


def why_missing(runs: Sequence[Run], number: int) -> str:
    """Returns why MLflow has no model of a trial, and what makes it again."""
    from ncf.tracking import cleaning, next_steps
    from ncf.tracking.recorded import was_trained
    from ncf.tracking.tag_names import NOTE_TAG, TRIAL_TAG

    of_trial = [one for one in runs if one.data.tags.get(TRIAL_TAG) == str(number)]
    run = max(of_trial, key=was_trained, default=None)
    if run is None:
        return f"MLflow has no run of trial {number}, which the search command writes again"
    why = "is not among the best, of which alone models are kept, or was deleted in MLflow"
    if cleaning.MODEL_IS_GONE in run.data.tags.get(NOTE_TAG, ""):
        why = "was deleted by `python -m ncf clean`"
    again = next_steps.command("register", str(run.info.run_id))
    return f"the model of trial {number} {why}; `{again}` makes it again"


def _differs(column: pd.Series[Any]) -> bool:
    return column.astype(str).nunique() > 1


def _cell(value: Any, digits: int) -> Any:
    """Returns a value as a table shows it: numbers to some significant digits, gaps empty."""
    if value is None or value != value:  # pandas' gap is NaN
        return ""
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
