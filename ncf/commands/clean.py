"""The command `clean`: what studies take on the disk, and how one is deleted or made smaller.

MLflow comes first, then the record, then the files. So a call that is cut short leaves what the
search command knows how to mend, and the same call ends what it began.
"""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import nullcontext, suppress
from typing import Any

import optuna
from mlflow.entities import ViewType

from ncf.commands import tables
from ncf.commands.parts import Parts, check_again, check_free, check_place, client_of, parts_of
from ncf.data.files import RESULTS
from ncf.redaction import redacted
from ncf.study import journal, presence
from ncf.study.results import counted
from ncf.study.storage import lock_record, lock_study, open_existing, open_storage
from ncf.tracking import cleaning
from ncf.tracking.database import registry_lock


def show(storage: str | None, tracking_uri: str | None, as_json: bool) -> None:
    """Prints a row for each study: its trials, the models that are kept, and what it takes."""
    client = client_of(tracking_uri)
    location = storage or str(RESULTS / "optuna.journal")
    recorded = open_existing(location)
    store = "no MLflow store" if client is None else f"MLflow store {client.tracking_uri}"
    print(redacted(f"record {location}, {store}"), file=sys.stderr)
    rows = []
    for name in _names(recorded):
        study = journal.load_study(name, storage)
        parts = parts_of(client, study)
        search = presence.last_search(name)
        began = "" if search is None else time.strftime("%Y-%m-%d", time.gmtime(search.began))
        rows.append(
            {
                "study": name,
                "trials": len(study.get_trials(deepcopy=False)),
                "models": len(parts.models),
                "versions": " ".join(f"{one.name}/{one.version}" for one in parts.versions),
                "MB": round(parts.size / 1e6, 1),
                "last searched": "now" if presence.is_searched(name) else began,
            }
        )
    tables.show_rows(sorted(rows, key=lambda row: -float(str(row["MB"]))), as_json)


def run(
    name: str,
    storage: str | None,
    tracking_uri: str | None,
    keep_models: int | None,
    with_versions: bool,
    is_sure: bool,
) -> None:
    """Deletes a study, or the models of all its trials but the best.

    Args:
        name: The study.
        storage: Optuna's record; None means the usual one.
        tracking_uri: MLflow's store; None means the usual one.
        keep_models: The number of best trials whose models are kept; None deletes the study.
        with_versions: Whether to delete the registered versions that are made of its models too.
        is_sure: Whether to delete without asking.

    Raises:
        ValueError: There is no such study, versions of it are registered, or nobody said yes.
        RuntimeError: It is being searched.
    """
    if "/" in name:
        raise ValueError(f"{name} is the record of a baseline: give its study")
    study = journal.load_study(name, storage)
    folder = RESULTS / "studies" / name
    folder.mkdir(parents=True, exist_ok=True)
    location = storage or str(RESULTS / "optuna.journal")
    with lock_study(folder), nullcontext() if "://" in location else lock_record(location, name):
        check_free(study, storage)
        parts = parts_of(client_of(tracking_uri), study)
        check_place(study, parts)
        if keep_models is not None:
            _delete_models(study, parts, storage, keep_models, is_sure)
            return
        if parts.versions and not with_versions:
            named = ", ".join(f"{one.name}/{one.version}" for one in parts.versions)
            raise ValueError(
                f"study {name}: {named} would be deleted with it; --with-versions does so, "
                "--keep-models N deletes the models of all but its N best trials"
            )
        _ask(_what(study, parts), is_sure)
        uri = "" if parts.client is None else str(parts.client.tracking_uri)
        with registry_lock(uri):
            check_again(study, parts, storage)
            _delete(study, parts, storage)
        shutil.rmtree(folder, ignore_errors=True)  # while no search can have it
    in_bin = "; MLflow keeps its runs in the bin, which `mlflow gc` empties" if parts.runs else ""
    print(f"study {name}: deleted{in_bin}")


def _delete(study: optuna.Study, parts: Parts, storage: str | None) -> None:
    """Deletes all that there is of a study but its folder, in which its lock lies."""
    if parts.client is not None:
        cleaning.delete_versions(parts.client, parts.versions)
        cleaning.delete_models(parts.client, parts.models)
        in_bin = cleaning.runs_of(parts.client, study.user_attrs["id"], ViewType.DELETED_ONLY)
        cleaning.delete_runs(parts.client, [*in_bin, *parts.runs], study.user_attrs["id"])
    opened = open_storage(storage or str(RESULTS / "optuna.journal"))
    own = [one.study_name for one in opened.get_all_studies()]
    # Its baselines first, whose names begin with its own.
    for name in sorted(own, reverse=True):
        if name == study.study_name or name.startswith(f"{study.study_name}/"):
            optuna.delete_study(study_name=name, storage=opened)
    for table in parts.tables:
        table.unlink(missing_ok=True)


def _delete_models(
    study: optuna.Study, parts: Parts, storage: str | None, n_kept: int, is_sure: bool
) -> None:
    """Deletes the models of all trials but the best and those with a registered version."""
    name = study.study_name
    if n_kept < 0:
        raise ValueError(f"--keep-models must not be negative, but got {n_kept}")
    if parts.client is None:
        raise ValueError(f"study {name}: there is no MLflow store here, and so there are no models")
    best = journal.best_first(study.get_trials(deepcopy=False))[:n_kept]
    kept = {trial.number for trial in best}
    sources = {version.source for version in parts.versions}
    of_trials = cleaning.trials_with_models(parts.client, parts.runs, parts.models)
    gone = [
        model
        for number, models in of_trials.items()
        if number not in kept
        for model in models
        if f"models:/{model.model_id}" not in sources
    ]
    if not gone:
        print(f"study {name}: no model is to be deleted")
        return
    size = cleaning.size_of([], gone) / 1e6
    _ask(f"{counted(len(gone), 'model')} of study {name}, {size:.1f} MB", is_sure)
    with registry_lock(str(parts.client.tracking_uri)):
        check_again(study, parts, storage)
        own = {model.source_run_id for model in gone}
        for run in parts.runs:
            if run.info.run_id in own:
                cleaning.note(parts.client, run, cleaning.MODEL_IS_GONE)
        cleaning.delete_models(parts.client, gone)
    print(f"study {name}: {counted(len(gone), 'model')} deleted, {size:.1f} MB")


def _names(storage: Any) -> list[str]:
    return [one.study_name for one in storage.get_all_studies() if "/" not in one.study_name]


def _what(study: optuna.Study, parts: Parts) -> str:
    """Returns what is about to be deleted, in words."""
    n_trials = len(study.get_trials(deepcopy=False))
    versions = ", ".join(f"{one.name}/{one.version}" for one in parts.versions)
    registered = f", with the registered versions {versions}" if versions else ""
    return (
        f"study {study.study_name}: its {counted(n_trials, 'trial')}, "
        f"{counted(len(parts.models), 'model')} and report, {parts.size / 1e6:.1f} MB{registered}"
    )


def _ask(what: str, is_sure: bool) -> None:
    """Asks whether to delete, unless that is said already.

    Raises:
        ValueError: The answer is not yes, or nobody is there to answer.
    """
    if is_sure:
        return
    answer = ""
    if sys.stdin is not None and sys.stdin.isatty():
        with suppress(EOFError):
            answer = input(f"Delete {what}? This cannot be undone. [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise ValueError(f"nothing was deleted of {what}; --yes deletes without asking")
