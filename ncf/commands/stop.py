"""The command `stop`: ends a search of this machine as Ctrl-C would, from any terminal."""

from __future__ import annotations

import os
import platform
import signal
import time
from contextlib import suppress

import optuna

from ncf.study import journal, presence
from ncf.study.presence import Search

START_SECONDS = 60.0  # how long to wait for a search that is just starting
STOP_SECONDS = 600.0  # how long to wait for the search to end its epochs
_LOOK_SECONDS = 0.2


def stop(study: str, storage: str | None) -> None:
    """Ends the search of a study, and waits until it has ended.

    Args:
        study: The name of the study.
        storage: Optuna's record; of a database, any folder's search is found.

    Raises:
        ValueError: It runs on another machine, or does not end, or there is no such study.
    """
    # Opened once, as each opening of a database has connections of its own.
    record = journal.load_study(study, storage) if _is_database(storage) else None
    deadline = time.monotonic() + START_SECONDS
    while True:
        is_searched, search = _who_searches(study, record)
        if not is_searched:
            where = " from this folder" if record is None else ""
            print(f"study {study}: nobody is searching it{where}")
            return
        if search is not None and search.host != platform.node():
            raise ValueError(f"study {study} is being searched on {search.host}: stop it there")
        if search is not None and search.is_alive:
            break
        if time.monotonic() > deadline:  # another search has the study, and has not noted itself
            raise ValueError(f"study {study}: its search is just starting; give the command again")
        time.sleep(_LOOK_SECONDS)
    os.kill(search.pid, signal.SIGTERM)  # a shell's background jobs ignore SIGINT
    print(f"study {study}: its search ends the epochs that are running ...", flush=True)
    deadline = time.monotonic() + STOP_SECONDS
    while _who_searches(study, record)[0]:
        if time.monotonic() > deadline:
            raise ValueError(
                f"study {study}: process {search.pid} has not ended after {STOP_SECONDS:.0f} s; "
                f"`kill {search.pid}` ends it at once, and what has ended is kept"
            )
        time.sleep(_LOOK_SECONDS)
    ended = "stopped; the same command goes on with it"
    with suppress(ValueError):  # its record is elsewhere
        attributes = journal.load_study(study, storage).user_attrs
        if attributes.get("conclusion", {}).get("at", 0) > search.began:
            ended = "its search had come to its end"
    print(f"study {study}: {ended}")


def _who_searches(study: str, record: optuna.Study | None) -> tuple[bool, Search | None]:
    """Returns whether a study is being searched, and which search has noted itself last.

    Args:
        study: The name of the study.
        record: The study in its database; None where its record is a file.
    """
    if record is None:
        return presence.is_searched(study), presence.last_search(study)
    from ncf.study.holder import holder_of

    holder = holder_of(record)
    return holder is not None, None if holder is None else holder.search


def _is_database(storage: str | None) -> bool:
    return storage is not None and "://" in storage
