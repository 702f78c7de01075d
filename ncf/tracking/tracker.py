"""MLflow's runs: a study's run, its trials' runs, and links to them in the UI.

A thin layer over `MlflowClient` with explicit run ids. A study is a parent run and a trial a child
run. Metrics are written in batches, so that a trial costs some tens of milliseconds.

Every method may be called again after one that failed, even if the store did all of it and only
the answer was lost: nothing is there twice.

Metrics of an epoch have its number as step, and are exact. What a run has one value of is rounded,
since the UI rounds nothing, and has step 0, so that the UI draws a bar and no line of one point.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
)

from ncf.models.gmf.setting import Hyperparameters, describe
from ncf.redaction import redacted
from ncf.search.experiment import DataFacts
from ncf.tracking import description, views
from ncf.tracking.store import open_client, open_experiment, patiently, source_tags, version_tags
from ncf.trials.messages import EpochReport, Failure, Outcome

STUDY_TAG, STUDY_ID_TAG = "ncf.study", "ncf.study_id"
TRIAL_TAG, KEY_TAG, STATE_TAG = "ncf.trial", "ncf.key", "ncf.state"
_KEPT_TAG = "ncf.kept"
_BATCH = 900  # metrics that fit into one request, with params and tags
_PARENT_TAG, _NOTE_TAG = "mlflow.parentRunId", "mlflow.note.content"
_STATUS = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED", "interrupted": "FAILED"}
if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Tracker:
    """Writes one study to MLflow."""

    def __init__(self, tracking_uri: str, root: Path, experiment: str, data: DataFacts) -> None:
        """Opens the store and the experiment, making either where it is missing.

        Args:
            tracking_uri: Where MLflow keeps its records.
            root: Folder for the artifacts of a local store.
            experiment: Name of the MLflow experiment.
            data: The data set of the study.

        Raises:
            ConnectionError: The store does not answer.
        """
        self.uri = tracking_uri
        self._data = data
        self.parent = ""  # the study's run id
        self._study = self._study_id = ""
        self._source_tags = source_tags()
        self._attempted: set[str] = set()  # what may be there though its answer was lost
        self._made: set[str] = set()  # runs of this process, which have only what it wrote
        self.client = patiently(tracking_uri, lambda: open_client(tracking_uri, create=True))
        self.experiment_id = patiently(
            tracking_uri, lambda: open_experiment(self.client, tracking_uri, root, experiment)
        )

    # The study's run

    def start_study(self, study: str, study_id: str, params: Mapping[str, Any]) -> str:
        """Opens the study's run anew, or makes it; closes what a kill left running.

        Args:
            study: The study's name.
            study_id: Its id in Optuna's record, which no other study has.
            params: Noted on a new run.

        Returns:
            The run's id.

        Raises:
            ConnectionError: The store does not answer.
        """
        self._study, self._study_id = study, study_id
        patiently(self.uri, self._close_running)
        self.parent = patiently(self.uri, lambda: self._open_parent(params))
        return self.parent

    def _open_parent(self, params: Mapping[str, Any]) -> str:
        for run in self._runs():
            if _PARENT_TAG not in run.data.tags:
                run_id, noted = str(run.info.run_id), run.data.params
                self.client.update_run(run_id, status="RUNNING")
                break
        else:
            tags = {**self._source_tags, **version_tags()}
            run_id, noted = self._create_run("study", f"study {self._study}", tags), {}
        missing = {key: value for key, value in params.items() if key not in noted}
        self.client.log_batch(run_id, params=_params(missing))
        return run_id

    def save_view(self, searched: Sequence[str], k: int) -> None:
        """Has the UI list a view of this study's trials, best first by nDCG@k.

        Args:
            searched: Names of the parameters that differ between trials.
            k: Cut-off of the metrics.
        """
        trials = f"tags.`{STUDY_TAG}` = '{self._study}' and tags.`{TRIAL_TAG}` != ''"
        view = views.trials_view(self._study, trials, searched, k, time.time())
        tag = views.TAG + views.key_of(self._study_id)
        self.client.set_experiment_tag(self.experiment_id, tag, view)

    def logged_trials(self) -> set[int]:
        """Returns the numbers of the trials whose runs are whole."""
        return {
            int(run.data.tags[TRIAL_TAG])
            for run in self._runs()
            if TRIAL_TAG in run.data.tags
            and run.data.tags.get(STATE_TAG) in ("finished", "pruned", "failed")
        }

    def describe_study(self, markdown: str) -> None:
        """Sets the Markdown that the UI shows on the parent run's page."""
        self._set_tags(self.parent, {_NOTE_TAG: markdown})

    def end_study(self, state: str) -> None:
        """Closes the parent run."""
        self._set_tags(self.parent, {STATE_TAG: state})
        self.client.set_terminated(self.parent, _STATUS[state])

    def log_result(self, metrics: Mapping[str, float], at: float, model_id: str) -> None:
        """Notes the winner's metrics on the parent run and on the winner's model."""
        metrics_of_both = self._metrics(rounded(metrics), 0, at, model_id)
        self.client.log_batch(self.parent, metrics=metrics_of_both)

    def keeps(self, name: str) -> bool:
        """Returns whether the parent run has a file of this name, whole."""
        return f"{_KEPT_TAG}.{name}" in self.client.get_run(self.parent).data.tags

    def keep(self, path: Path) -> None:
        """Copies a file to the parent run."""
        self.client.log_artifact(self.parent, str(path))
        self._set_tags(self.parent, {f"{_KEPT_TAG}.{path.name}": "whole"})

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
            note, start = description.describe_confirmation(number), outcome.time - outcome.seconds
            self._log_child(key, name, params, metrics, note, start, outcome.time)
        summary = {f"validation_confirmed/trial_{number}_mean": mean}
        if len(outcomes) > 1:
            summary[f"validation_confirmed/trial_{number}_sd"] = sd
        at = max(outcome.time for outcome in outcomes)
        self.client.log_batch(self.parent, metrics=self._metrics(rounded(summary), 0, at))

    def log_baseline(
        self,
        name: str,
        setting: DataclassInstance,
        metrics: Mapping[str, float],
        note: str,
        at: float,
    ) -> None:
        """Logs a child run for a tuned baseline; `note` is the Markdown that describes it."""
        key, params = f"baseline-{name}", asdict(setting)
        self._log_child(key, f"baseline {name}", params, metrics, note, at, at)

    def _log_child(
        self,
        key: str,
        name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        note: str,
        start: float,
        end: float,
    ) -> None:
        metrics = rounded(metrics)
        condition = f"tags.`{KEY_TAG}` = '{key}' and attributes.status = 'FINISHED'"
        same = [run for run in self._runs(condition) if run.data.metrics == metrics]
        if same:
            return  # the same command again
        tags = {_PARENT_TAG: self.parent, _NOTE_TAG: note, **self._source_tags}
        run_id = self._create_run(key, name, tags, start)
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
            TRIAL_TAG: str(number),
            STATE_TAG: "running",
            _PARENT_TAG: self.parent,
            **self._source_tags,
        }
        name = f"trial {number} · {describe(hyperparameters)}"
        return self._create_run(f"trial-{number}", name, tags, at)

    def log_trial(
        self,
        run_id: str,
        params: Mapping[str, Any],
        reports: Sequence[EpochReport],
        outcome: Outcome | None,
        model_id: str | None,
    ) -> None:
        """Writes what is new of a trial, all at once, and closes its run where it has ended.

        Args:
            run_id: Its run.
            params: Its hyperparameters, or none where the run has them.
            reports: Of the epochs that the run lacks.
            outcome: What it came to; None while it trains.
            model_id: Its model, if any, which gets the outcome's metrics too.
        """
        metrics = [metric for report in reports for metric in self._epoch(report)]
        tags = {}
        if outcome is not None:
            tags[STATE_TAG] = state = "pruned" if outcome.pruned else "finished"
            tags[_NOTE_TAG] = description.describe_trial(outcome, run_id)
            best = {
                **_prefixed("validation_best", outcome.metrics),
                **_prefixed("validation_full", outcome.metrics_full),
            }
            counts = {
                "trial/best_epoch": outcome.best_epoch,
                "trial/epochs": outcome.epochs,
                "trial/seconds": outcome.seconds,
            }
            metrics += self._metrics(rounded(best), 0, outcome.time, model_id)
            metrics += self._metrics(rounded(counts), 0, outcome.time)
        # MLflow cuts what is too long into requests, and the last is to bring the state
        if len(metrics) > _BATCH:
            self.client.log_batch(run_id, metrics=metrics[:-_BATCH])
        self.client.log_batch(run_id, metrics[-_BATCH:], _params(params), _tags(tags))
        if outcome is not None:
            self.client.set_terminated(run_id, _STATUS[state], int(outcome.time * 1000))

    def _epoch(self, report: EpochReport) -> list[Metric]:
        values = {
            "train/loss": report.loss,
            "train/seconds": round(report.seconds, 4),
            "train/samples_per_second": round(report.n_samples / report.seconds),
            **_prefixed("validation", report.metrics),
        }
        return self._metrics(values, report.epoch, report.time)

    def fail_trial(self, run_id: str, failure: Failure, state: str) -> None:
        """Closes the run of a trial that "failed" or was "interrupted", with the reason."""
        note = f"**{state.capitalize()}:** {failure.reason}"
        if failure.traceback:
            note += f"\n\n```\n{failure.traceback[-6000:]}\n```"
        tags = {STATE_TAG: state, "ncf.reason": failure.reason[:500], _NOTE_TAG: note}
        self._set_tags(run_id, tags)
        self.client.set_terminated(run_id, _STATUS[state])

    # Models

    def log_model(
        self, run_id: str, key: str, name: str, folder: Path, params: Mapping[str, Any], step: int
    ) -> str:
        """Keeps a packaged model as a logged model of the run.

        Args:
            run_id: The run.
            key: Tells the model from others of the run.
            name: Name of the model.
            folder: The model.
            params: Noted with it.
            step: The epoch that it is of.

        Returns:
            The model's id; its URI is `models:/<id>`.
        """
        has_none = run_id in self._made and not self._is_repeated(f"{key} of {run_id}")
        models = [] if has_none else self._models(run_id)
        found = next((m for m in models if m.tags.get(KEY_TAG) == key), None)
        if (model := found) is None:
            texts = {name: str(value) for name, value in params.items()}
            model = self.client.create_logged_model(
                self.experiment_id, name, run_id, {KEY_TAG: key}, texts, "recommender"
            )
        if model.status != LoggedModelStatus.READY:  # whole or absent
            self.client.log_model_artifacts(model.model_id, str(folder))
            self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        outputs = self.client.get_run(run_id).outputs if found else None
        if model.model_id not in [m.model_id for m in (outputs.model_outputs if outputs else [])]:
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
        return str(model.model_id)

    # Links

    def ui_link(self) -> str:
        """Returns the address of this study's trials, best first, with charts."""
        parts = urlsplit(self.uri)
        server = (
            redacted(self.uri) if parts.scheme in ("http", "https") else "http://127.0.0.1:5000"
        )
        view = f"viewStateShareKey={views.key_of(self._study_id)}&compareRunsMode=CHART"
        mode = "workflowType=machine_learning"  # the UI's other half is for language models
        return f"{server}/#/experiments/{self.experiment_id}/runs?{view}&{mode}"

    # The rest is how

    def _study_tags(self) -> dict[str, str]:
        return {STUDY_TAG: self._study, STUDY_ID_TAG: self._study_id}

    def _close_running(self) -> None:
        for run in self._runs("attributes.status = 'RUNNING'"):
            if _PARENT_TAG in run.data.tags:
                run_id = run.info.run_id
                for model in self._models(run_id):  # it is made again with the trial's next run
                    self.client.delete_logged_model(model.model_id)
                self._set_tags(run_id, {STATE_TAG: "interrupted"})
                self.client.set_terminated(run_id, _STATUS["interrupted"])

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

    def _create_run(
        self, key: str, name: str, tags: Mapping[str, str], at: float | None = None
    ) -> str:
        condition = f"tags.`{KEY_TAG}` = '{key}' and attributes.status = 'RUNNING'"
        run = next(iter(self._runs(condition) if self._is_repeated(key) else ()), None)
        if run is None:
            start = int((at or time.time()) * 1000)
            all_tags = {**self._study_tags(), KEY_TAG: key, **tags}
            run = self.client.create_run(self.experiment_id, start, all_tags, name)
            self._made.add(str(run.info.run_id))
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

    def _models(self, run_id: str) -> Sequence[LoggedModel]:
        return self.client.search_logged_models([self.experiment_id], f"source_run_id = '{run_id}'")

    def _is_repeated(self, action: str) -> bool:
        """Returns whether this has been begun before, so that some of it may be there."""
        is_repeated = action in self._attempted
        self._attempted.add(action)
        return is_repeated

    def _metrics(
        self, values: Mapping[str, float], step: int, at: float, model_id: str | None = None
    ) -> list[Metric]:
        # A point that is written again is the same point: MLflow drops it.
        milliseconds = int(at * 1000)
        dataset = (self._data.name, self._data.digest) if model_id else (None, None)
        return [
            Metric(
                key, float(value), milliseconds, step,
                model_id=model_id, dataset_name=dataset[0], dataset_digest=dataset[1],
            )
            for key, value in values.items()
        ]  # fmt: skip

    def _set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        self.client.log_batch(run_id, tags=_tags(tags))


def rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns the metrics with six digits after the point, as they are logged and tagged."""
    return {name: round(value, 6) for name, value in metrics.items()}


def _params(values: Mapping[str, Any]) -> list[Param]:
    return [Param(key, str(value)) for key, value in values.items()]


def _tags(values: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(key, value) for key, value in values.items()]


def _prefixed(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{key}": value for key, value in values.items()}
