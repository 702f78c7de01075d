"""Commands that look after studies: `python -m ncf trials`, `status`, `stop` and `ui`."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

    from ncf.study.presence import Search

STOP_SECONDS = 600.0  # how long `stop` waits for the search to end its epochs


def add_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    rows: argparse.ArgumentParser,
    store: argparse.ArgumentParser,
) -> None:
    """Adds the commands to a parser's.

    Args:
        commands: The parser's commands.
        rows: The options of commands that print rows.
        store: The options of commands that ask MLflow's store.
    """
    study = argparse.ArgumentParser(add_help=False)
    study.add_argument(
        "study", nargs="?", metavar="STUDY", default=argparse.SUPPRESS,
        help="its name (default: the one searched last)",
    )  # fmt: skip
    study.add_argument("--study", default=argparse.SUPPRESS, help="the same, as for search.py")
    study.set_defaults(study=None)
    record = argparse.ArgumentParser(add_help=False)
    record.add_argument("--storage", help="Optuna's record (default: mlruns/optuna.journal)")

    trials = commands.add_parser("trials", help="a study's trials", parents=[study, record, rows])
    trials.add_argument(
        "--sort-by", metavar="COLUMN", help="best or largest first (default: the objective)"
    )
    trials.add_argument(
        "--only-changed", action="store_true", help="leave out columns with one value alone"
    )
    trials.set_defaults(run=_trials)
    status = commands.add_parser(
        "status", help="what a search is doing, from another terminal", parents=[study, record]
    )
    status.set_defaults(run=_status)
    stop = commands.add_parser("stop", help="end a search as Ctrl-C would", parents=[study])
    stop.set_defaults(run=_stop)
    ui = commands.add_parser(
        "ui", help="open MLflow's UI on the records of searches", parents=[store]
    )
    ui.add_argument("--port", type=int, default=5000, help="its port (default: 5000)")
    ui.set_defaults(run=_ui)


def _trials(
    study: str | None, storage: str | None, sort_by: str | None, only_changed: bool, json: bool
) -> None:
    from ncf.commands import tables
    from ncf.commands.from_python import load_study

    table = load_study(_name(study), storage=storage).trials
    if table.empty:
        print("no trial has ended yet", file=sys.stderr)
    elif sort_by is not None and sort_by not in table:
        raise ValueError(f"--sort-by {sort_by}: the columns are {', '.join(map(str, table))}")
    else:
        # `value` is the objective of a finished trial; pruned and failed trials come after
        table = table.sort_values(
            sort_by or "value", ascending=False, kind="stable", na_position="last"
        )
    if only_changed and len(table) > 1:
        kept = ("number", "state")
        changed = [name for name in table if table[name].astype(str).nunique() > 1]
        table = table[[name for name in table if name in kept or name in changed]]
    tables.show_rows(
        [
            {str(name): _cell(cell) for name, cell in row.items()}
            for row in table.to_dict("records")
        ],
        json,
    )


def _cell(value: Any) -> Any:
    """Returns a value as a table shows it: numbers with six significant digits, gaps empty."""
    if value is None or value != value:  # pandas' gap is NaN
        return ""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _status(study: str | None, storage: str | None) -> None:
    print("\n".join(describe(_name(study), storage)))


def describe(name: str, storage: str | None) -> list[str]:
    """Returns what a study has and what is being done, as lines.

    Args:
        name: The name of the study.
        storage: Optuna's record; None means the usual one.

    Raises:
        ValueError: There is no such study.
    """
    from optuna.trial import TrialState

    from ncf.study import journal, presence

    study = journal.load_study(name, storage)
    trials = study.get_trials(deepcopy=False)
    search = presence.last_search(name)
    is_running = search is not None and presence.is_searched(name)
    if storage is not None and "://" in storage:  # another machine may be searching it
        from ncf.study.holder import holder_of

        if (holder := holder_of(study)) is not None:
            search, is_running = holder.search, True
    states = Counter(trial.state for trial in trials)
    n_trained = sum(map(journal.is_trained, trials))
    wanted = f"/{search.n_trials}" if search is not None else ""
    lines = [
        f"study {name}: {n_trained}{wanted} trials; {states[TrialState.COMPLETE]} finished, "
        f"{states[TrialState.PRUNED]} pruned, {states[TrialState.FAIL]} failed"
    ]
    lines += [
        f"best on validation: {best.value:.4f} (trial {best.number})"
        for best in journal.best_first(trials)[:1]
    ]
    if search is not None and is_running:
        phase = _phase(study, search, n_trained, storage)
        lines.append(f"being searched by process {search.pid} on {search.host}: {phase}")
    elif "conclusion" in study.user_attrs:
        lines.append("concluded; nobody is searching it")
    else:
        lines.append("not concluded, and nobody is searching it: the same command goes on")
    return lines


def _phase(study: optuna.Study, search: Search, n_trained: int, storage: str | None) -> str:
    from tqdm import tqdm

    from ncf.commands.options import BASELINES
    from ncf.study import journal

    if n_trained < search.n_trials:
        seconds = journal.seconds_of(study.get_trials(deepcopy=False))
        left = (search.n_trials - n_trained) * seconds / max(n_trained, 1) / search.jobs
        about = f"; about {tqdm.format_interval(left)} left" if n_trained else ""
        return f"training trials{about} until they are confirmed and baselines tuned"
    for name in reversed(BASELINES):
        try:
            tuned = journal.load_study(f"{study.study_name}/{name}", storage)
        except ValueError:  # not yet
            continue
        n_settings = sum(map(journal.is_trained, tuned.get_trials(deepcopy=False)))
        return f"tuning the baselines, or after them ({name} has had {n_settings} settings)"
    return "training the best trials again with fresh seeds"


def _stop(study: str | None) -> None:
    from ncf.study import journal, presence

    name = _name(study)
    search = presence.last_search(name)
    if search is None or not presence.is_searched(name):
        print(f"study {name}: nobody is searching it")
        return
    if search.host != platform.node():
        raise ValueError(f"study {name} is being searched on {search.host}: stop it there")
    if not search.is_alive:  # another search has the study, and has not noted itself yet
        raise ValueError(f"study {name}: its search is just starting; give the command again")
    os.kill(search.pid, signal.SIGTERM)  # a shell's background jobs ignore SIGINT
    print(f"study {name}: its search ends the epochs that are running ...", flush=True)
    deadline = time.monotonic() + STOP_SECONDS
    while presence.is_searched(name):
        if time.monotonic() > deadline:
            raise ValueError(
                f"study {name}: process {search.pid} has not ended after {STOP_SECONDS:.0f} s; "
                f"`kill {search.pid}` ends it at once, and what has ended is kept"
            )
        time.sleep(0.2)
    ended = "stopped; the same command goes on with it"
    with suppress(ValueError):  # its record is elsewhere
        if journal.load_study(name).user_attrs.get("conclusion", {}).get("at", 0) > search.began:
            ended = "its search had come to its end"
    print(f"study {name}: {ended}")


def _ui(tracking_uri: str | None, port: int) -> None:
    from mlflow.exceptions import MlflowException

    from ncf.study import journal, presence
    from ncf.tracking import store, views

    uri = tracking_uri or store.default_uri()
    client = store.open_client(uri)
    if uri.startswith(("http://", "https://")):
        raise ValueError("the tracking server shows its UI itself: open its address in a browser")
    server, name = f"http://127.0.0.1:{port}", presence.last_searched()
    print(f"{server}: all experiments", flush=True)
    if name is not None:
        with suppress(ValueError, MlflowException):  # its record, or its run, is elsewhere
            study = journal.load_study(name).user_attrs
            experiment = client.get_run(study["mlflow_run"]).info.experiment_id
            address = views.link(server, experiment, study["id"])
            print(f"{address}: the trials of study {name}", flush=True)
    # The jobs are for language models, and would start a dozen processes.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    arguments = ["-m", "mlflow", "ui", "--workers", "1", "--port", str(port)]
    arguments += ["--backend-store-uri", uri]
    os.execve(sys.executable, [sys.executable, *arguments], environment)


def _name(study: str | None) -> str:
    """Returns the study that is named, or the one that was searched last.

    Raises:
        ValueError: No study is named, and none was searched here.
    """
    from ncf.study import presence

    name = study or presence.last_searched()
    if name is None:
        raise ValueError("no study has been searched here yet: run search.py, or name a study")
    return name
