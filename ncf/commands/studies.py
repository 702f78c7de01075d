"""Commands that look after studies: `trials`, `status`, `stop`, `clean` and `ui`."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress


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

    trials = commands.add_parser(
        "trials", help="a study's trials, or two side by side", parents=[record, rows, store]
    )
    trials.add_argument(
        "words", nargs="*", metavar="STUDY or TRIAL", default=[],
        help="its name (default: the one searched last); the numbers of two trials",
    )  # fmt: skip
    trials.add_argument("--study", help="its name, as for search.py")
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
    stop = commands.add_parser("stop", help="end a search as Ctrl-C would", parents=[study, record])
    stop.set_defaults(run=_stop)
    clean = commands.add_parser(
        "clean",
        help="what studies take on the disk; delete one",
        parents=[study, record, rows, store],
    )
    clean.add_argument(
        "--keep-models", type=int, metavar="N",
        help="delete the models of all but its N best trials, and nothing else",
    )  # fmt: skip
    clean.add_argument(
        "--with-versions", action="store_true", help="delete its registered versions too"
    )
    clean.add_argument("--yes", action="store_true", help="delete without asking")
    clean.set_defaults(run=_clean)
    ui = commands.add_parser(
        "ui", help="open MLflow's UI on the records of searches", parents=[store]
    )
    ui.add_argument("--port", type=int, default=5000, help="its port (default: 5000)")
    ui.set_defaults(run=_ui)


def _trials(
    words: list[str],
    study: str | None,
    storage: str | None,
    tracking_uri: str | None,
    sort_by: str | None,
    only_changed: bool,
    json: bool,
) -> None:
    from ncf.commands import trials
    from ncf.study import journal

    numbers = [int(word) for word in words if word.isdecimal()]
    names = [*(word for word in words if not word.isdecimal()), *filter(None, [study])]
    if len(names) > 1 or len(numbers) not in (0, 2):
        raise ValueError("give one study, and no trial or the numbers of two: trials ml-100k 0 3")
    found = journal.load_study(_name(names[0] if names else None, storage), storage)
    if numbers:
        trials.show_two(found, numbers, tracking_uri, json)
    else:
        trials.show(found, sort_by, only_changed, json)


def _clean(
    study: str | None,
    storage: str | None,
    tracking_uri: str | None,
    keep_models: int | None,
    with_versions: bool,
    yes: bool,
    json: bool,
) -> None:
    from ncf.commands import clean

    if study is None:
        if keep_models is not None or with_versions or yes:
            raise ValueError(
                "name the study that is to be cleaned; without options, all are listed"
            )
        clean.show(storage, tracking_uri, json)
    else:
        clean.run(study, storage, tracking_uri, keep_models, with_versions, yes)


def _status(study: str | None, storage: str | None) -> None:
    from ncf.commands import status

    print("\n".join(status.describe(_name(study, storage), storage)))


def _stop(study: str | None, storage: str | None) -> None:
    from ncf.commands import stop

    stop.stop(_name(study, storage), storage)


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


def _name(study: str | None, storage: str | None) -> str:
    """Returns the study that is named, or the one that was searched last.

    Of a database, which other folders search too, it is the only one that is recorded there.

    Raises:
        ValueError: No study is named, and none was searched here, or several are recorded.
    """
    from ncf.study import presence

    if study:
        return study
    if storage is not None and "://" in storage:
        return _only_study(storage)
    name = presence.last_searched()
    if name is None:
        raise ValueError("no study has been searched here yet: run search.py, or name a study")
    return name


def _only_study(location: str) -> str:
    from ncf.study.storage import open_existing

    names = [one.study_name for one in open_existing(location).get_all_studies()]
    names = [name for name in names if "/" not in name]  # which are the records of baselines
    if len(names) != 1:
        raise ValueError(f"{location}: name a study; it has {', '.join(names) or 'none yet'}")
    return names[0]
