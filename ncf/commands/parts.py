"""What there is of a study beside its record, and whether it may be deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import optuna
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion

from ncf.commands import kept_tables
from ncf.data.files import RESULTS
from ncf.study.holder import holder_of
from ncf.tracking import cleaning, places, store
from ncf.tracking.database import file_of


@dataclass(frozen=True)
class Parts:
    """What there is of a study beside its record.

    Attributes:
        client: A client of MLflow's store; None where there is no store.
        runs: Its runs in MLflow.
        models: The models of these runs.
        versions: The registered versions that are made of these models.
        folder: Its folder.
        tables: The files of the tables that it was given from Python, as far as there are.
    """

    client: MlflowClient | None
    folder: Path
    tables: list[Path]
    runs: list[Run] = field(default_factory=list)
    models: list[LoggedModel] = field(default_factory=list)
    versions: list[ModelVersion] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The bytes that it takes on this machine, less those of its record."""
        files = cleaning.size_of_folder(self.folder)
        files += sum(table.stat().st_size for table in self.tables if table.exists())
        return files + cleaning.size_of(self.runs, self.models)


def parts_of(client: MlflowClient | None, study: optuna.Study) -> Parts:
    """Returns what there is of a study, as far as a store is there."""
    folder = RESULTS / "studies" / study.study_name
    tables = kept_tables.files_of(study.study_name)
    if client is None or "id" not in study.user_attrs:
        return Parts(client, folder, tables)
    runs = cleaning.runs_of(client, study.user_attrs["id"])
    models = cleaning.models_of(client, runs)
    return Parts(client, folder, tables, runs, models, cleaning.versions_of(client, models))


def client_of(tracking_uri: str | None) -> MlflowClient | None:
    """Returns a client of the store; None where the file of the store is not there."""
    uri = tracking_uri or store.default_uri()
    database = file_of(uri)
    return None if database is not None and not database.exists() else store.open_client(uri)


def check_free(study: optuna.Study, storage: str | None) -> None:
    """Checks that no other machine searches the study.

    Raises:
        RuntimeError: One does.
    """
    if storage is not None and "://" in storage and (holder := holder_of(study)) is not None:
        raise RuntimeError(
            f"study {study.study_name} is being searched by process {holder.search.pid} on "
            f"{holder.search.host}: stop it there"
        )


def check_place(study: optuna.Study, parts: Parts) -> None:
    """Checks that the files of the study are those of this store, and not of one it is a copy of.

    Raises:
        ValueError: The store was moved or copied, and names the files of the old place.
    """
    if parts.client is None or (database := file_of(str(parts.client.tracking_uri))) is None:
        return
    for experiment_id in {run.info.experiment_id for run in parts.runs}:
        experiment = parts.client.get_experiment(experiment_id)
        if why := places.objection(database, experiment.artifact_location):
            raise ValueError(
                f"study {study.study_name}: nothing was deleted, as MLflow experiment "
                f"{experiment.name!r} {why}"
            )


def check_again(study: optuna.Study, parts: Parts, storage: str | None) -> None:
    """Checks that nothing has come to the study while a person was asked.

    Raises:
        ValueError: A version was registered.
        RuntimeError: Another machine searches the study now.
    """
    check_free(study, storage)
    now = parts_of(parts.client, study)
    if {(v.name, v.version) for v in now.versions} != {(v.name, v.version) for v in parts.versions}:
        raise ValueError(
            f"study {study.study_name}: nothing was deleted, as its registered versions have "
            "changed meanwhile; give the command again"
        )
