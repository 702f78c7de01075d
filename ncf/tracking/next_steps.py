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


def questions(name: str, version: str, model_uri: str, champion: str) -> list[tuple[str, str]]:
    """Returns whom a person may ask after a search, each with the command that asks it.

    Args:
        name: The model's name in the registry; empty where it is not registered.
        version: The version that the search has registered.
        model_uri: The URI of the model, for where it is not registered.
        champion: The version in use; empty for none.
    """
    found = asking(name, version, model_uri)
    if champion in ("", version):
        return [("Ask the model for ten items:", found)]
    return [
        (f"Ask the champion, version {champion}, for ten items:", asking(name, champion, "")),
        (f"Ask version {version}, which is not the champion:", found),
    ]


def in_shell(uri: str) -> str:
    """Returns a store's address as a word for a shell; `HIDDEN` where it has a password."""
    return shlex.quote(uri) if redacted(uri) == uri else HIDDEN
