"""Who searches a study: its lock, and a note that each search leaves in the study's folder."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ncf.data.files import RESULTS, wait_for_room, write_whole
from ncf.data.locks import is_read_only
from ncf.study.storage import lock_record, lock_study

_NOTE = "search.json"


@dataclass(frozen=True)
class Search:
    """A search, as it noted itself when it began.

    Attributes:
        pid: The process.
        host: The machine that it runs on.
        began: When it began, in seconds since 1970.
        n_trials: The trials that the study is to have in the end.
        jobs: The trials trained at once.
    """

    pid: int
    host: str
    began: float
    n_trials: int
    jobs: int

    @classmethod
    def of_this_process(cls, n_trials: int, jobs: int) -> Search:
        """Returns the search that this process begins now."""
        return cls(os.getpid(), platform.node(), time.time(), n_trials, jobs)

    @property
    def has_ended(self) -> bool:
        """Whether it ran on this machine, and its process is gone."""
        return self.host == platform.node() and not self.is_alive

    @property
    def is_alive(self) -> bool:
        """Whether its process is there, and not another one that has been given its number.

        One that has ended stays as a zombie where whoever began it does not ask for its status.
        """
        try:
            process = psutil.Process(self.pid)
            return process.create_time() < self.began and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def note(folder: Path, n_trials: int, jobs: int) -> None:
    """Notes in the study's folder, whose lock this process holds, that its search has begun."""
    search = Search.of_this_process(n_trials, jobs)
    content = json.dumps(asdict(search)).encode()
    wait_for_room(lambda: write_whole(folder / _NOTE, content), folder)


def last_search(study: str) -> Search | None:
    """Returns the search of a study that has begun last; None where there was none here."""
    file = RESULTS / "studies" / study / _NOTE
    return Search(**json.loads(file.read_text())) if file.exists() else None


def last_searched() -> str | None:
    """Returns the name of the study whose search is starting, or that was searched last, if any."""
    for folder in (RESULTS / "studies").glob("*"):
        search = last_search(folder.name)
        if (search is None or search.has_ended) and is_searched(folder.name):
            return folder.name
    notes = (RESULTS / "studies").glob(f"*/{_NOTE}")
    last = max(notes, key=lambda file: file.stat().st_mtime, default=None)
    return None if last is None else last.parent.name


def is_searched(study: str) -> bool:
    """Returns whether a process has the study now."""
    folder = RESULTS / "studies" / study
    if not folder.exists():
        return False
    try:
        lock_study(folder).release()
    except RuntimeError:
        return True
    except OSError as error:
        if not is_read_only(error):
            raise
        search = last_search(study)  # whoever may only read has its note alone
        return search is not None and search.host == platform.node() and search.is_alive
    return False


def is_recorded(study: str, location: str) -> bool:
    """Returns whether a process of this folder or another one has the study of a journal now."""
    try:
        lock_record(location, study).release()
    except RuntimeError:
        return True
    except OSError as error:  # whoever may only read cannot tell
        if not is_read_only(error):
            raise
    return False
