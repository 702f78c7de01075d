"""The commands that a person may give next, as they can be pasted into a shell in this folder."""

from __future__ import annotations

import shlex

import mlflow

from ncf.data.files import RESULTS
from ncf.redaction import redacted


def command(*words: str, program: str = "python -m ncf") -> str:
    """Returns a command of this program on the store that is in use, quoted for a shell.

    The store is named unless every command finds it here by itself. Must be called after
    `open_client`, from which MLflow knows the store.
    """
    uri = str(mlflow.get_tracking_uri())
    store = "" if uri == default_database() else f" --tracking-uri {in_shell(uri)}"
    return f"{program} {shlex.join(words)}{store}"


def in_shell(uri: str) -> str:
    """Returns a store's address as a word for a shell; one with a password as a variable's name.

    The password is not printed. So $MLFLOW_TRACKING_URI has to hold such an address.
    """
    return shlex.quote(uri) if redacted(uri) == uri else '"$MLFLOW_TRACKING_URI"'


def default_database() -> str:
    """Returns the store that a command uses in this folder where nothing names another."""
    return f"sqlite:///{RESULTS.resolve()}/mlflow.db"
