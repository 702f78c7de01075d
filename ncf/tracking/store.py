"""MLflow's store: where it is, how it is opened, and the tags that say where a run comes from."""

from __future__ import annotations

import logging
import os
import shlex
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from ncf.data.files import RESULTS
from ncf.redaction import one_line, redacted
from ncf.tracking import deadline, next_steps, notes, places
from ncf.tracking.database import check_whole, file_of, half_made, is_half_made, wait_for_lock
from ncf.tracking.new_store import make_store

for _name in ("mlflow", "alembic"):  # they log migrations and hints; errors are raised
    logging.getLogger(_name).setLevel(logging.CRITICAL)

T = TypeVar("T")
PATIENCE = 15.0  # seconds that a store may take to answer at first
PAUSE = 1.0  # seconds between attempts
_logger = logging.getLogger(__name__)
_PACKAGES = ("ncf-search", "torch", "numpy", "numba", "optuna", "mlflow")


def default_uri(root: Path = RESULTS) -> str:
    """Returns the store where no option names one: $MLFLOW_TRACKING_URI, or a SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _uri_of(root.resolve() / "mlflow.db")


def _uri_of(database: Path) -> str:
    """Returns the URI of a store; some names, as those with `%` or `?`, cannot stand in it plainly.

    Raises:
        ValueError: The installed SQLAlchemy cannot open a file of this name.
    """
    path = str(database)
    quoted = URL.create("sqlite", database=path).render_as_string()
    for uri in (f"sqlite:///{path}", quoted):
        if make_url(uri).database == path:
            return uri
    raise ValueError(f"{database}: MLflow cannot keep a store in a folder of this name; rename it")


def open_client(tracking_uri: str, create: bool = False) -> MlflowClient:
    """Returns a client of the store, in which MLflow will then look for models.

    Args:
        tracking_uri: Where the store is.
        create: Whether to create a database file that is missing.

    Raises:
        ValueError: There is no store that can be opened.
        sqlite3.OperationalError: The database file is locked.
        OSError: The database file cannot be created.
    """
    database = file_of(tracking_uri)
    if not create and database is not None and not database.exists():
        raise ValueError(
            f"{database}: no such MLflow store; run search.py here, or give --tracking-uri"
        )
    deadline.guard()
    mlflow.set_tracking_uri(tracking_uri)  # the registry looks for models in this global
    if create and database is not None:
        make_store(database)
    if database is not None:
        check_whole(database)
    try:
        client = MlflowClient()
        client.search_experiments(max_results=1)
    except sqlite3.OperationalError:  # locked, or no place for a file
        raise
    except Exception as error:  # of MLflow, of SQLAlchemy, or of a missing driver
        if database is not None and is_half_made(error):
            raise ValueError(half_made(database)) from error
        raise ValueError(
            f"--tracking-uri {tracking_uri}: no MLflow store ({error}); give one like "
            "sqlite:////folder/mlflow.db or http://host:5000"
        ) from error
    return client


def open_experiment(client: MlflowClient, uri: str, root: Path, name: str) -> str:
    """Returns the id of an experiment, which is created where it is missing.

    Args:
        client: A client of the store.
        uri: Where the store is.
        root: The folder for the artifacts of a local store.
        name: The name of the experiment.

    Raises:
        ValueError: The experiment has been deleted, or its store was moved or copied.
    """
    location = None  # a server has its own
    if uri.startswith("sqlite:///"):
        location = places.location_for(root)
    found = client.get_experiment_by_name(name)
    if found is None:
        tags = {
            "mlflow.experimentKind": "custom_model_development",
            "mlflow.note.content": notes.EXPERIMENT,
        }
        try:
            return str(client.create_experiment(name, location, tags))
        except MlflowException:  # another study may have created it just now
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        uri_there = shlex.quote(redacted(uri))
        raise ValueError(
            f"MLflow experiment {name!r} is deleted: restore it with `MLFLOW_TRACKING_URI="
            f"{uri_there} mlflow experiments restore --experiment-id {found.experiment_id}`, or "
            "rename the experiment"
        )
    database = file_of(uri)
    if database is not None and (why := places.objection(database, found.artifact_location)):
        raise ValueError(f"MLflow experiment {name!r} {why}")
    return str(found.experiment_id)


def patiently(uri: str, action: Callable[[], T]) -> T:
    """Returns what `action` returns, waiting for a server that is perhaps just starting.

    Raises:
        ConnectionError: The store does not answer.
    """
    is_server = urlsplit(uri).scheme in ("http", "https")
    deadline = time.monotonic() + (PATIENCE if is_server else 0.0)
    database = file_of(uri)
    is_told = False
    while True:
        if database is not None and database.exists():
            wait_for_lock(database)
        try:
            return action()
        except (ValueError, MlflowException, SQLAlchemyError, sqlite3.Error) as error:
            if isinstance(error, ValueError) and not (is_server and error.__cause__):
                raise  # a mistake of the person, which waiting does not mend
            if time.monotonic() > deadline:
                reason = one_line(error)
                if "Failed to establish a new connection" in reason:  # after pages of urllib3
                    reason = "nothing answers there"
                raise ConnectionError(
                    f"MLflow at {redacted(uri)} cannot be used ({reason[:400]}): start it, or "
                    "name another store with --tracking-uri; what the study has is kept"
                ) from error
            if not is_told:
                _logger.warning(
                    "MLflow at %s does not answer; waiting up to %.0f s for it",
                    redacted(uri), PATIENCE,
                )  # fmt: skip
                is_told = True
        time.sleep(PAUSE)


def ui_command(uri: str) -> str:
    """Returns the command that starts the UI on a store."""
    if urlsplit(uri).scheme in ("http", "https"):
        return "the tracking server's address in a browser"
    return next_steps.command("ui")


def version_tags() -> dict[str, str]:
    """Returns the versions of the packages that a result may depend on."""
    return {f"version.{package}": version(package) for package in _PACKAGES}


def source_tags() -> dict[str, str]:
    """Returns the user, the program and the commit as the tags that MLflow knows."""
    from mlflow.tracking.context import registry

    tags: dict[str, str] = registry.resolve_tags()
    if "mlflow.source.git.commit" not in tags:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        with suppress(OSError):  # there is no git, or no process can be started now
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode == 0:
                tags["mlflow.source.git.commit"] = result.stdout.strip()
    return tags
