"""What the records of a journal are of, told one after another, in words."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

_KINDS = (
    "its beginning", "its removal", "a note of it", "a note of it", "its beginning", "a parameter",
    "its end", "its value after an epoch", "a note of it", "a note of it", "trials left out",
)  # fmt: skip
_BEGINS_STUDY, _REMOVES_STUDY, _BEGINS_TRIAL, _ENDS_TRIAL = 0, 1, 4, 6  # Optuna's codes
_OF_A_STUDY = (0, 1, 2, 3)
_ENDS = [state.value for state in TrialState if state.is_finished()]


class Replay:
    """The studies and trials of the records so far, numbered as Optuna numbers them."""

    def __init__(self) -> None:
        self._names: list[str] = []  # of studies, by their id
        self._removed: set[int] = set()
        self._trials: list[tuple[int, int]] = []  # study and number, by the trial's id
        self._n_begun: Counter[int] = Counter()
        self._n_ended: Counter[int] = Counter()

    def add(self, record: Mapping[str, Any]) -> None:
        """Takes the next record."""
        operation = record["op_code"]
        study, trial = _index(record, "study_id"), _index(record, "trial_id")
        living = [name for n, name in enumerate(self._names) if n not in self._removed]
        if operation == _BEGINS_STUDY and record.get("study_name") not in living:
            self._names.append(str(record.get("study_name")))
        elif operation == _REMOVES_STUDY:
            self._removed.add(study)
        elif operation == _BEGINS_TRIAL:
            self._trials.append((study, self._n_begun[study]))
            self._n_begun[study] += 1
        if operation in (_BEGINS_TRIAL, _ENDS_TRIAL) and record.get("state") in _ENDS:
            if operation == _ENDS_TRIAL and trial < len(self._trials):
                study = self._trials[trial][0]
            self._n_ended[study] += 1

    def what(self, line: bytes) -> str:
        """Returns what a line is of, as far as that can be read in it and told from those before.

        >>> Replay().what(b'{"op_code":0,"study_name":"shop"}')
        "study 'shop', its beginning"
        """
        operation = _number(line, b"op_code")
        if operation is None or operation >= len(_KINDS):
            return "a record that cannot be told"
        study, trial = _number(line, b"study_id"), _number(line, b"trial_id")
        number: int | None = None
        if trial is not None and trial < len(self._trials):
            study, number = self._trials[trial]
        elif operation == _BEGINS_TRIAL and study is not None:
            number = self._n_begun[study]
        name = re.search(rb'"study_name":"([^"]*)"', line)
        title = name[1].decode(errors="replace") if name else "?"
        if study is not None and study < len(self._names):
            title = self._names[study]
        of = "" if operation in _OF_A_STUDY else f"trial {'?' if number is None else number} of "
        note = re.search(rb'"user_attr":\{"([^"]*)"', line)
        kind = f"its note {note[1].decode(errors='replace')!r}" if note else _KINDS[operation]
        return f"{of}study {title!r}, {kind}"

    def n_ended(self) -> dict[str, int]:
        """Returns how many trials of each study have ended."""
        return {
            name: self._n_ended[study]
            for study, name in enumerate(self._names)
            if study not in self._removed
        }


def first_unreadable(records: list[dict[str, Any]]) -> tuple[int, str] | None:
    """Returns the index of the first record that Optuna cannot follow, and why; None for none."""
    kept = _Kept(records)
    try:
        JournalStorage(kept)
    except (ValueError, LookupError, TypeError, AssertionError) as error:
        return kept.n_read - 1, f"Optuna cannot follow it: {error!r}"
    return None


class _Kept(BaseJournalBackend):
    """Records in memory, as a journal that is only read."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self._records = records
        self.n_read = 0

    def read_logs(self, log_number_from: int) -> Any:
        for record in self._records[log_number_from:]:
            self.n_read += 1
            yield record

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise NotImplementedError


def _index(record: Mapping[str, Any], key: str) -> int:
    """Returns an id of a record; one that no study or trial has, where the record has none."""
    found = record.get(key)
    return found if isinstance(found, int) else sys.maxsize


def _number(line: bytes, key: bytes) -> int | None:
    match = re.search(rb'"%s":(\d{1,9})\b' % key, line)
    return int(match[1]) if match else None
