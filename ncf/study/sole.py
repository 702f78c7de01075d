"""Which search may write a study: one at a time, from whatever folder or machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from optuna.storages import BaseStorage, JournalStorage

from ncf.study.presence import Search
from ncf.study.storage import lock_record

if TYPE_CHECKING:
    from ncf.study.lease import Lease


@contextmanager
def sole(storage: BaseStorage, location: str, study: str, search: Search) -> Iterator[Lease | None]:
    """Makes a search the only one that writes a study while the body runs, from whatever folder.

    Args:
        storage: Where studies are recorded; the study of a database gets a lease, which is yielded.
        location: The file or the address of the storage.
        study: The name of the study.
        search: The search.

    Raises:
        RuntimeError: Another search has the study.
    """
    if isinstance(storage, JournalStorage):
        with lock_record(location, study):
            yield None
        return
    from ncf.study import lease  # here: a file needs no SQLAlchemy

    with lease.held(storage, study, search) as held:
        yield held
