"""MLflow's runs: the store, a study's run, its trials' runs, and links to them in the UI.

A thin layer over `MlflowClient` with explicit run ids. A study is a parent run and a trial a child
run. Metrics are written in batches, so that a trial costs some tens of milliseconds.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # with its password, for each run

import mlflow
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
)

from ncf.experiment import RESULTS, DataFacts, Hyperparameters, describe
from ncf.messages import EpochReport, Failure, Outcome
from ncf.redaction import redacted

for _name in ("mlflow", "alembic"):  # migrations and hints that the person can do nothing about
    logging.getLogger(_name).setLevel(logging.ERROR)

STUDY_TAG, STUDY_ID_TAG = "ncf.study", "ncf.study_id"
TRIAL_TAG, KEY_TAG, STATE_TAG = "ncf.trial", "ncf.key", "ncf.state"
_PARENT_TAG = "mlflow.parentRunId"
_STATUS = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED", "interrupted": "FAILED"}
if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_PACKAGES = ("ncf-search", "torch", "numpy", "numba", "optuna", "mlflow")


class Tracker:
    """Writes one study to MLflow."""

    def __init__(self, tracking_uri: str, root: Path, experiment: str, data: DataFacts) -> None:
        """Opens the store and the experiment, making either where it is missing.

        Args:
            tracking_uri: Where MLflow keeps its records.
            root: Folder for the artifacts of a local store.
            experiment: Name of the MLflow experiment.
            data: The data set of the study.
        """
        self.uri = tracking_uri
        self.client = open_client(tracking_uri, create=True)
        self.experiment_id = _experiment_id(self.client, tracking_uri, root, experiment)
        self._data = data
        self.parent = ""  # the study's run id
        self._study = self._study_id = ""
        self._source_tags = _source_tags()

    # The study's run

    def start_study(self, study: str, study_id: str, params: Mapping[str, Any]) -> str:
        """Opens the study's run anew, or makes it; closes what a kill left running.

        Args:
            study: The study's name.
            study_id: Its id in Optuna's record, which no other study has.
            params: Noted on a new run.

        Returns:
            The run's id.
        """
        self._study, self._study_id = study, study_id
        self._close_running()
        for run in self._runs():
            if _PARENT_TAG not in run.data.tags:
                self.parent = str(run.info.run_id)
                self.client.update_run(self.parent, status="RUNNING")
                return self.parent
        tags = {**self._study_tags(), **self._source_tags, **_version_tags()}
        self.parent = self._create_run(f"study {study}", tags)
        self.client.log_batch(self.parent, params=_params(params))
        return self.parent

    def logged_trials(self) -> set[int]:
        """Returns the numbers of the trials whose runs are whole."""
        return {
            int(run.data.tags[TRIAL_TAG])
            for run in self._runs()
            if TRIAL_TAG in run.data.tags
            and run.data.tags.get(STATE_TAG) in ("finished", "pruned", "failed")
        }

    def describe_study(self, description: str) -> None:
        """Sets the Markdown that the UI shows on the parent run's page."""
        self._set_tags(self.parent, {"mlflow.note.content": description})

    def end_study(self, state: str) -> None:
        """Closes the parent run, and any other that an error left running."""
        self._close_running()
        self._set_tags(self.parent, {STATE_TAG: state})
        self.client.set_terminated(self.parent, _STATUS[state])

    def log_result(self, metrics: Mapping[str, float], step: int, model_id: str) -> None:
        """Notes the winner's metrics on the parent run and on the winner's model."""
        metrics_of_both = self._metrics(metrics, step, model_id=model_id)
        self.client.log_batch(self.parent, metrics=metrics_of_both)

    def has_artifact(self, name: str) -> bool:
        """Returns whether the parent run keeps a file of this name."""
        return any(file.path == name for file in self.client.list_artifacts(self.parent))

    def move_artifact(self, path: Path) -> None:
        """Keeps a file with the parent run, and removes it where it was."""
        self.client.log_artifact(self.parent, str(path))
        path.unlink()

    # Runs beside the trials'

    def log_confirmation(
        self,
        number: int,
        hyperparameters: Hyperparameters,
        outcomes: Sequence[Outcome],
        mean: float,
        sd: float,
    ) -> None:
        """Logs a child run for each fresh seed of a trial's setting, and what they come to."""
        for index, outcome in enumerate(outcomes):
            metrics = {
                **_prefixed("validation_best", outcome.metrics),
                **_prefixed("validation_full", outcome.metrics_full),
                "trial/best_epoch": outcome.best_epoch,
                "trial/seconds": outcome.seconds,
            }
            name = f"trial {number} again, seed {index + 1} · {describe(hyperparameters)}"
            key, params = f"confirmation-{number}-{index}", asdict(hyperparameters)
            start = outcome.time - outcome.seconds
            self._log_child(key, name, params, metrics, start, outcome.time)
        summary = {f"validation_confirmed/trial_{number}_mean": mean}
        if len(outcomes) > 1:
            summary[f"validation_confirmed/trial_{number}_sd"] = sd
        self.client.log_batch(self.parent, metrics=self._metrics(summary, 0))

    def log_baseline(
        self, name: str, setting: DataclassInstance, metrics: Mapping[str, float]
    ) -> None:
        """Logs a child run for a tuned baseline."""
        now = time.time()
        self._log_child(f"baseline-{name}", f"baseline {name}", asdict(setting), metrics, now, now)

    def _log_child(
        self,
        key: str,
        name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        start: float,
        end: float,
    ) -> None:
        condition = f"tags.`{KEY_TAG}` = '{key}' and tags.`{STATE_TAG}` = 'finished'"
        same = [run for run in self._runs(condition) if run.data.metrics == dict(metrics)]
        if same:
            return  # the same command again
        tags = {
            **self._study_tags(),
            KEY_TAG: key,
            _PARENT_TAG: self.parent,
            **self._source_tags,
        }
        run_id = self._create_run(name, tags, start)
        self.client.log_batch(
            run_id,
            metrics=self._metrics(metrics, 0, end),
            params=_params(params),
            tags=[RunTag(STATE_TAG, "finished")],
        )
        self.client.set_terminated(run_id, "FINISHED", int(end * 1000))

    # A trial's run

    def start_trial(self, number: int, hyperparameters: Hyperparameters, at: float) -> str:
        """Makes the child run of a trial that began `at` (seconds since 1970).

        Returns:
            Its id.
        """
        tags = {
            **self._study_tags(),
            TRIAL_TAG: str(number),
            STATE_TAG: "running",
            _PARENT_TAG: self.parent,
            **self._source_tags,
        }
        run_id = self._create_run(f"trial {number} · {describe(hyperparameters)}", tags, at)
        self.client.log_batch(run_id, params=_params(asdict(hyperparameters)))
        return run_id

    def log_epochs(self, run_id: str, reports: Sequence[EpochReport]) -> None:
        """Writes the metrics of some epochs at once."""
        metrics = [
            metric
            for report in reports
            for metric in self._metrics(
                {
                    "train/loss": report.loss,
                    "train/seconds": report.seconds,
                    "train/samples_per_second": report.n_samples / report.seconds,
                    **_prefixed("validation", report.metrics),
                },
                report.epoch,
                report.time,
            )
        ]
        if metrics:
            self.client.log_batch(run_id, metrics=metrics)

    def finish_trial(self, run_id: str, outcome: Outcome, model_id: str | None) -> None:
        """Closes the run of a trained trial; its model, if any, gets the metrics too."""
        best = {
            **_prefixed("validation_best", outcome.metrics),
            **_prefixed("validation_full", outcome.metrics_full),
        }
        state = "pruned" if outcome.pruned else "finished"
        counts = {
            "trial/best_epoch": outcome.best_epoch,
            "trial/epochs": outcome.epochs,
            "trial/seconds": outcome.seconds,
        }
        step = outcome.best_epoch
        self.client.log_batch(
            run_id,
            metrics=[
                *self._metrics(best, step, model_id=model_id),
                *self._metrics(counts, step),
            ],
            tags=[RunTag(STATE_TAG, state)],
        )
        self.client.set_terminated(run_id, _STATUS[state], int(outcome.time * 1000))

    def fail_trial(self, run_id: str, failure: Failure, state: str) -> None:
        """Closes the run of a trial that "failed" or was "interrupted", with the reason."""
        note = f"**{state.capitalize()}:** {failure.reason}"
        if failure.traceback:
            note += f"\n\n```\n{failure.traceback[-6000:]}\n```"
        tags = {STATE_TAG: state, "ncf.reason": failure.reason[:500], "mlflow.note.content": note}
        self._set_tags(run_id, tags)
        self.client.set_terminated(run_id, _STATUS[state])

    # Links

    def ui_command(self) -> str:
        """Returns the command that starts the UI on this store."""
        if urlsplit(self.uri).scheme in ("http", "https"):
            return "(the tracking server shows it)"
        return (
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 "
            f"--backend-store-uri {redacted(self.uri)}"
        )

    def ui_link(self, order_by: str) -> str:
        """Returns the address of this study's trials, best first, with charts."""
        parts = urlsplit(self.uri)
        server = (
            redacted(self.uri) if parts.scheme in ("http", "https") else "http://127.0.0.1:5000"
        )
        query = {
            "searchFilter": f"tags.`{STUDY_TAG}` = '{self._study}'",
            "orderByKey": f"metrics.`{order_by}`",
            "orderByAsc": "false",
            "compareRunsMode": "CHART",
            "workflowType": "machine_learning",
        }
        encoded = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
        return f"{server}/#/experiments/{self.experiment_id}/runs?{encoded}"

    # The rest is how

    def _study_tags(self) -> dict[str, str]:
        return {STUDY_TAG: self._study, STUDY_ID_TAG: self._study_id}

    def _close_running(self) -> None:
        for run in self._runs("attributes.status = 'RUNNING'"):
            if _PARENT_TAG in run.data.tags:
                self._set_tags(run.info.run_id, {STATE_TAG: "interrupted"})
                self.client.set_terminated(run.info.run_id, _STATUS["interrupted"])

    def _runs(self, condition: str = "") -> list[Run]:
        query = f"tags.`{STUDY_ID_TAG}` = '{self._study_id}'" + (condition and f" and {condition}")
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], query, max_results=1000, page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _create_run(self, name: str, tags: Mapping[str, str], at: float | None = None) -> str:
        start = int((at or time.time()) * 1000)
        run = self.client.create_run(self.experiment_id, start, dict(tags), name)
        run_id = str(run.info.run_id)
        dataset = Dataset(
            name=self._data.name,
            digest=self._data.digest,
            source_type="local",
            source=json.dumps({"fingerprint": self._data.fingerprint}),
            profile=json.dumps(dict(self._data.counts)),
        )
        self.client.log_inputs(
            run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])]
        )
        return run_id

    def _metrics(
        self,
        values: Mapping[str, float],
        step: int,
        at: float | None = None,
        model_id: str | None = None,
    ) -> list[Metric]:
        milliseconds = int((time.time() if at is None else at) * 1000)
        dataset = (self._data.name, self._data.digest) if model_id else (None, None)
        return [
            Metric(
                key, float(value), milliseconds, step,
                model_id=model_id, dataset_name=dataset[0], dataset_digest=dataset[1],
            )
            for key, value in values.items()
        ]  # fmt: skip

    def _set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def default_uri(root: Path = RESULTS) -> str:
    """Returns the store to use where no option names one: the environment's, else SQLite."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve()}/mlflow.db"


def open_client(tracking_uri: str, create: bool = False) -> MlflowClient:
    """Returns a client of the store, which becomes the one that MLflow finds models in.

    Args:
        tracking_uri: Where the store is.
        create: Whether a database file that is missing is made.

    Raises:
        ValueError: There is no store that can be opened.
    """
    database = tracking_uri.removeprefix("sqlite:///")
    if not create and database != tracking_uri and not Path(database).exists():
        raise ValueError(
            f"{database}: no such MLflow store; run search.py here, or give --tracking-uri"
        )
    mlflow.set_tracking_uri(tracking_uri)  # the registry resolves models by this global
    try:
        client = MlflowClient()
        client.search_experiments(max_results=1)
    except Exception as error:  # MLflow's, SQLAlchemy's, a missing driver's
        raise ValueError(
            f"--tracking-uri {tracking_uri}: no MLflow store ({error}); give one like "
            "sqlite:////folder/mlflow.db or http://host:5000"
        ) from error
    return client


def _experiment_id(client: MlflowClient, uri: str, root: Path, name: str) -> str:
    location = None  # the server's own
    if uri.startswith("sqlite:///"):
        database = Path(uri.removeprefix("sqlite:///"))
        database.parent.mkdir(parents=True, exist_ok=True)
        # A write-ahead log is a property of the file, kept by it; set before MLflow makes the
        # tables, since it spares most of the waiting for the disk.
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        location = (root.resolve() / "artifacts").as_uri()
    found = client.get_experiment_by_name(name)
    if found is None:
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(name, artifact_location=location, tags=tags))
    if found.lifecycle_stage == "deleted":
        raise ValueError(
            f"MLflow experiment {name!r} is deleted: restore it with `mlflow experiments restore "
            f"--experiment-id {found.experiment_id}`, or rename the experiment"
        )
    return str(found.experiment_id)


def _params(values: Mapping[str, Any]) -> list[Param]:
    return [Param(key, str(value)) for key, value in values.items()]


def _prefixed(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{key}": value for key, value in values.items()}


def _version_tags() -> dict[str, str]:
    return {f"version.{package}": version(package) for package in _PACKAGES}


def _source_tags() -> dict[str, str]:
    from mlflow.tracking.context import registry

    tags: dict[str, str] = registry.resolve_tags()
    if "mlflow.source.git.commit" not in tags:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            tags["mlflow.source.git.commit"] = result.stdout.strip()
    return tags
