"""The study's durable record: an Optuna journal file, the source of truth that MLflow mirrors.

Everything that a finished trial came to is in its Optuna trial: parameters, the validation nDCG of
each epoch as intermediate values, and as user attributes its epoch reports and outcome. What a
kill leaves running is trained again in place, under the same number and so with the same seed.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock, get_lock_file
from optuna.trial import FrozenTrial, TrialState

from ncf.data.files import wait_for_room
from ncf.models import table
from ncf.models.table import Setting
from ncf.search.results import Contestant
from ncf.trials.messages import EpochReport, Failure, Outcome

_logger = logging.getLogger(__name__)
_IDENTITY = "identity"


def open_storage(location: str) -> BaseStorage:
    """Opens a journal file, or any storage URL that Optuna knows (`sqlite:///...`).

    Raises:
        ValueError: It cannot be opened, is damaged, or is a file of another kind.
    """
    if "://" in location:
        try:
            return optuna.storages.get_storage(location)
        except Exception as error:  # SQLAlchemy's, a missing driver's
            raise ValueError(
                f"--storage {location}: cannot be opened ({error}); give a file, or a URL like "
                "sqlite:////folder/optuna.db"
            ) from error
    path = Path(location).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _Lock(path)
    with get_lock_file(lock):  # else the line that another study is just writing would look torn
        _drop_torn_line(path)
    try:
        return JournalStorage(_File(path))
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path}: damaged ({error!r}); restore it, or begin another with --storage FILE"
        ) from error


class _Lock(BaseJournalFileLock):
    """A lock that the system releases with its process; Optuna's own outlive a kill by 30 s."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(f"{path}.filelock", poll_interval=0.005)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class _File(JournalFileBackend):
    """Optuna's journal file; where the disk is full, the writer waits until there is room.

    Intermediate values wait for the next record, that of the trial's end at the latest: a trial
    that has not ended is trained again, and each write waits for the disk.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lock_obj=_Lock(path))
        self._waiting: list[dict[str, Any]] = []

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._waiting += logs
        if all("intermediate_value" in log for log in logs):
            return
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in self._waiting]
        wait_for_room(partial(self._append, "".join(lines).encode()), self._file_path)
        self._waiting.clear()

    def _append(self, lines: bytes) -> None:
        with get_lock_file(self._lock), open(self._file_path, "ab", buffering=0) as file:
            size = file.tell()
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)  # all or nothing
                raise


def lock_study(folder: Path) -> FileLock:
    """Makes this process the only coordinator of the study whose folder it is, until it ends.

    Raises:
        RuntimeError: Another process has the study.
    """
    lock = FileLock(folder / "lock")  # the system releases it, however the process ends
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(
            f"study {folder.name!r} is being searched by another process: wait for it, or begin "
            "another with --study NAME"
        ) from None
    return lock


def open_study(storage: BaseStorage, name: str, identity: Mapping[str, Any]) -> optuna.Study:
    """Creates the study, or continues the one of this name.

    Args:
        storage: Where it is recorded.
        name: The study's name.
        identity: All that must be equal for trials to be comparable: data, protocol, space, seed.

    Raises:
        ValueError: The study has another identity; the message names the differences.
    """
    study = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )
    recorded = study.user_attrs.get(_IDENTITY)
    if recorded is None:
        study.set_user_attr("id", uuid.uuid4().hex)  # names alone are not unique across stores
        study.set_user_attr(_IDENTITY, dict(identity))
    elif differences := _differences(_as_now(recorded), identity):
        raise ValueError(
            f"study {name!r} was begun with other settings: {'; '.join(differences)}. Use those "
            "again, or begin another study with --study NAME"
        )
    return study


def record_outcome(
    study: optuna.Study,
    trial: optuna.Trial,
    outcome: Outcome,
    reports: Sequence[EpochReport],
    value: float,
) -> None:
    """Ends a trial that was trained; its value is the best epoch's."""
    trial.set_user_attr("epochs", [asdict(report) for report in reports])
    trial.set_user_attr("outcome", asdict(outcome))
    if outcome.pruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, value)


def record_failure(
    study: optuna.Study, trial: optuna.Trial, failure: Failure, reports: Sequence[EpochReport]
) -> None:
    """Ends a trial that failed."""
    trial.set_user_attr("epochs", [asdict(report) for report in reports])
    trial.set_user_attr("failure", asdict(failure))
    study.tell(trial, state=TrialState.FAIL)


def reports_of(trial: FrozenTrial) -> list[EpochReport]:
    """Returns the epoch reports of an ended trial."""
    return [EpochReport(**report) for report in trial.user_attrs.get("epochs", [])]


def outcome_of(trial: FrozenTrial) -> Outcome:
    """Returns the outcome of a trial that finished or was pruned."""
    return Outcome(**trial.user_attrs["outcome"])


def failure_of(trial: FrozenTrial) -> Failure:
    """Returns why a trial failed."""
    return Failure(**trial.user_attrs["failure"])


def setting_of(trial: FrozenTrial) -> Setting:
    """Returns the setting of a recorded trial."""
    name = trial.user_attrs.get("model", "gmf")  # of records written before there was another
    return table.setting_of(name, trial.user_attrs["hyperparameters"])


def contestant_of(trial: FrozenTrial, epochs: int, note: str) -> Contestant:
    """Returns a finished trial as one that goes to test.

    Args:
        trial: The trial.
        epochs: Epochs to train it for.
        note: How it was found.
    """
    setting = setting_of(trial)
    title = table.model_of(setting).title
    recorded = trial.user_attrs["hyperparameters"]
    metrics = outcome_of(trial).metrics
    return Contestant(title, trial.number, setting, recorded, epochs, metrics, note)


def seconds_of(trials: Sequence[FrozenTrial]) -> float:
    """Returns the worker time that the trained ones of the trials took."""
    return sum(outcome_of(trial).seconds for trial in trials if is_trained(trial))


def is_trained(trial: FrozenTrial) -> bool:
    """Returns whether the trial counts: it finished or was pruned."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def best_first(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Returns the complete trials, best value first, the earlier of equals first."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))


def _drop_torn_line(path: Path) -> None:
    # A power cut or a full disk can leave half a line, on which the next write would die.
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        if not b'{"op_code"'.startswith(file.read(10)):  # else it is torn in its first line
            raise ValueError(f"--storage {path}: not an Optuna journal; give another file")
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
    _logger.warning("%s: dropped its last line, which was cut short", path)


def _as_now(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an identity as it would be recorded today, whichever version recorded it."""
    now = dict(identity)
    if "n_candidates" in now:
        now["n_sampled_negatives"] = now.pop("n_candidates")
    if "defaults" in now:
        name = now["defaults"].get("model", "gmf")
        now["defaults"] = asdict(table.setting_of(name, now["defaults"]))
    return now


def _differences(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} was {recorded.get(key)!r}, now {asked.get(key)!r}"
        for key in sorted({*recorded, *asked})
        if recorded.get(key) != asked.get(key)
    ]
