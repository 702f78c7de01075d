"""Where the files of a local store lie, which MLflow notes as absolute paths when they are made."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FOLDER = "artifacts"  # beside the database file


def location_for(root: Path) -> str:
    """Returns the URI of the folder for the files of a local store."""
    return (root.resolve() / _FOLDER).as_uri()


def objection(database: Path, location: str) -> str:
    """Returns why nothing may be written to the files of an experiment; empty where it may.

    A store that was moved or copied together with its files still names the old place.

    Args:
        database: The database file of the store.
        location: The URI of the experiment's files.
    """
    there, here = folder_of(location), database.resolve().parent / _FOLDER
    if there is None or there.resolve() == here:
        return ""
    is_gone = not there.parent.exists() or (here.exists() and not there.exists())
    is_of_another = here.exists() and (there.parent / database.name).exists()
    if not is_gone and not is_of_another:
        return ""  # a store that several folders share
    link = (
        "" if there.parent.exists() else f"make the old path a link to it ({_link(there, here)}), "
    )
    return (
        f"keeps its files in {there}, but its store is now {database}: it was moved or copied. "
        f"Move it back, {link}or move {database}* away: the same command then writes what the "
        "study's record has to a new store"
    )


def moved(database: Path | None, location: str) -> str:
    """Returns where files were, and what to do, if the store was moved; empty if it was not.

    Args:
        database: The database file of the store; None for a server.
        location: The URI of the files, as MLflow has noted it.
    """
    there = folder_of(location)
    if there is None or database is None or there.exists():
        return ""
    new = database.resolve().parent / _FOLDER
    for place in [n for n, part in enumerate(there.parts) if part == _FOLDER]:
        old, below = Path(*there.parts[: place + 1]), Path(*there.parts[place + 1 :])
        if new != old and below != Path() and (new / below).exists():
            return (
                f"its files were in {old}, and the store was moved and is now in {new.parent}; "
                f"move it back, or make the old path a link to it ({_link(old, new)})"
            )
    return ""


def folder_of(location: str) -> Path | None:
    """Returns the folder that a URI or path names; None where it is not on this machine."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(location) if location.startswith("/") else None


def _link(old: Path, new: Path) -> str:
    """Returns the command that makes the old path of a store a link to the new."""
    here, there = shlex.quote(str(new.parent)), shlex.quote(str(old.parent))
    return f"mkdir -p {shlex.quote(str(old.parent.parent))} && ln -s {here} {there}"
