"""The commands that a person may give next, as they can be pasted into a shell in this folder."""

from __future__ import annotations

import shlex
from pathlib import Path

import mlflow

from ncf.data.files import RESULTS
from ncf.redaction import redacted

HIDDEN = '"$MLFLOW_TRACKING_URI"'  # stands for an address with a password, which is not printed


def command(*words: str, program: str = "python -m ncf") -> str:
    """Returns a command of this program on the store that is in use, quoted for a shell.

    The store is named unless it is the one that every command finds in this folder by itself. Must
    be called after `open_client`, from which MLflow knows the store.
    """
    uri = str(mlflow.get_tracking_uri())
    is_here = Path(uri.removeprefix("sqlite:///")) == RESULTS.resolve() / "mlflow.db"
    return f"{program} {shlex.join(words)}" + (
        "" if is_here else f" --tracking-uri {in_shell(uri)}"
    )


def asking(name: str, version: str, model_uri: str) -> str:
    """Returns the command that asks a version, or a model that is not registered."""
    model = f"models:/{name}/{version}" if name else model_uri
    return command("recommend", "--model", model, "--user", "ID")


def in_shell(uri: str) -> str:
    """Returns a store's address as a word for a shell; `HIDDEN` where it has a password."""
    return shlex.quote(uri) if redacted(uri) == uri else HIDDEN
