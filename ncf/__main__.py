"""Commands for before and after a search: `python -m ncf COMMAND --help`."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncf.commands import asking, failures, studies

if TYPE_CHECKING:
    from mlflow import MlflowClient


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit status; a user's mistake is one line and status 2."""
    gc.set_threshold(100_000)  # MLflow makes half a million objects while it loads, which all stay
    options = vars(failures.parse(_parser(), arguments))
    run = options.pop("run")
    del options["command"]
    return failures.guarded(lambda: _status_of(run, options))


def _status_of(run: Callable[..., None], options: dict[str, Any]) -> int:
    try:
        run(**options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ncf", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument("--tracking-uri", help="MLflow store (default: as search.py)")
    as_rows = argparse.ArgumentParser(add_help=False)
    as_rows.add_argument(
        "--json", action="store_true", help="JSON (default: a table on a terminal, else CSV)"
    )
    data = commands.add_parser("data", help="facts and pitfalls of a data set, before a search")
    data.add_argument("data", help="name (ml-100k, ml-1m, ...) or path")
    data.add_argument("--columns", help="names of its columns: user=...,item=...,timestamp=...")
    data.add_argument("--min-rating", type=float, help="keep only ratings at or above this")
    data.add_argument("--drop-empty", action="store_true", help="leave out rows with an empty cell")
    data.add_argument(
        "--split", default="leave-one-out", help="leave-one-out (default), time or time:0.9,0.95"
    )
    data.add_argument("--targets", help="with --split time: last (default), first or all")
    data.set_defaults(run=_data)

    asking.add_commands(commands, as_rows, store)
    parents = [as_rows, store]
    models = commands.add_parser("models", help="the registered versions", parents=parents)
    models.set_defaults(run=_models)
    compare = commands.add_parser(
        "compare", help="two versions on the same users and candidates", parents=parents
    )
    for name in ("first", "second"):
        compare.add_argument(name, metavar="VERSION", help="VERSION or NAME/VERSION")
    compare.set_defaults(run=_compare)
    promote = commands.add_parser("promote", help="make a version champion", parents=[store])
    promote.add_argument("version", metavar="VERSION", help="VERSION or NAME/VERSION")
    promote.add_argument(
        "--force", action="store_true", help="even if it is not known to be better"
    )
    promote.set_defaults(run=_promote)
    register = commands.add_parser("register", help="register any trial's model", parents=[store])
    register.add_argument(
        "run_id", metavar="TRIAL", help="STUDY/NUMBER, or the id of the trial's run in MLflow"
    )
    register.add_argument("--name", help="name in the model registry (default: gmf-<data>)")
    register.set_defaults(run=_register)
    studies.add_commands(commands, as_rows, store)
    check = commands.add_parser("check", help="find and mend what is damaged in a study's record")
    check.add_argument(
        "--storage", type=Path, metavar="FILE", default=Path("mlruns/optuna.journal"),
        help="the journal (default: mlruns/optuna.journal)",
    )  # fmt: skip
    check.add_argument(
        "--cut", action="store_true", help="cut off what cannot be mended and all that follows"
    )
    check.set_defaults(run=_check)
    return parser


# Each command takes its options by name. It imports what it needs itself, so that --help is quick.


def _data(
    data: str,
    columns: str | None,
    min_rating: float | None,
    drop_empty: bool,
    split: str,
    targets: str | None,
) -> None:
    from ncf.commands import facts
    from ncf.data.columns import parse_columns
    from ncf.protocol.choice import parse_split

    choice = parse_split(split, targets)
    found = facts.gather(data, parse_columns(columns), min_rating, choice, drop_empty)
    print(facts.in_words(found))


def _models(tracking_uri: str | None, json: bool) -> None:
    from ncf.commands import tables
    from ncf.tracking import marks, versions

    client = _client(tracking_uri)
    marks.mark_all(client)
    rows = versions.listed(client)
    if not rows:
        print("no version is registered yet: run search.py", file=sys.stderr)
    tables.show_rows(rows, json)


def _compare(first: str, second: str, tracking_uri: str | None, json: bool) -> None:
    from ncf.commands import tables
    from ncf.tracking import comparison, marks

    client = _client(tracking_uri)
    found = [marks.find(client, text) for text in (first, second)]
    rows = comparison.compare(client, *found)
    fitted = {version.tags["fitted_on"] for version in found}
    if len(fitted) > 1:
        print(
            "WARNING: one was fitted on train alone, and does not know each user's validation "
            "item, as the other does: it is at a disadvantage below, however good its setting is. "
            "`python -m ncf trials A B` compares two trials fairly, on validation.",
            file=sys.stderr,
        )
    print(
        "On test: the difference is the first less the second, low and high are the ends of its "
        "95% interval over users; to choose by test again and again fits it.",
        file=sys.stderr,
    )
    tables.show_rows(rows, json)


def _promote(version: str, tracking_uri: str | None, force: bool) -> None:
    from ncf.tracking import gate
    from ncf.tracking.database import registry_lock

    client = _client(tracking_uri)
    with registry_lock(str(client.tracking_uri)):
        print(gate.promote(client, version, force))


def _register(run_id: str, tracking_uri: str | None, name: str | None) -> None:
    from ncf.commands import missing_model
    from ncf.commands.options import check_name
    from ncf.tracking import marks, next_steps, versions
    from ncf.tracking.database import registry_lock

    if name is not None:
        check_name("--name", name)
    client = _client(tracking_uri)
    run_id = versions.run_id_of(client, run_id)
    with registry_lock(str(client.tracking_uri)):
        missing_model.make(client, run_id)
        version = marks.mark(client, versions.register_run(client, run_id, name))
    full_name = f"{version.name}/{version.version}"
    print(f"{full_name}: {version.description}")
    print("This makes it champion where it is better on the same protocol; --force in any case:")
    print(f"  {next_steps.command('promote', full_name)}")


def _check(storage: Path, cut: bool) -> None:
    from ncf.commands import health

    health.run(storage.resolve(), cut)


def _client(tracking_uri: str | None) -> MlflowClient:
    from ncf.tracking import store

    return store.open_client(tracking_uri or store.default_uri())


if __name__ == "__main__":
    sys.exit(main())
