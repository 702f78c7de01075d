"""A study's run in MLflow, and the operations on any run of the study.

This is a thin layer over `MlflowClient` with explicit run ids. A study is a parent run, and its
trials are child runs (`trial_runs.py`). Metrics are written in batches, so that a trial costs some
tens of milliseconds.

A method that failed may be called again, even if the store has done all of it and only the answer
was lost: nothing is written twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    Metric,
    Run,
    ViewType,
)
from mlflow.exceptions import MlflowException

from ncf.protocol.metrics import Objective
from ncf.redaction import redacted
from ncf.study.experiment import DataFacts
from ncf.tracking import tag_names, views
from ncf.tracking.entities import params_of, rounded, tags_of
from ncf.tracking.paging import all_runs
from ncf.tracking.store import open_client, open_experiment, patiently, source_tags, version_tags
from ncf.tracking.tag_names import MODEL_TAG, NOTE_TAG, PARENT_TAG, STATE_TAG, STUDY_TAG

STATUS = {"finished": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "interrupted": "FAILED"}


class Tracker:
    """Writes one study to MLflow."""

    def __init__(self, tracking_uri: str, root: Path, experiment: str, data: DataFacts) -> None:
        """Opens the store and the experiment, and creates either where it is missing.

        Args:
            tracking_uri: Where MLflow keeps its records.
            root: The folder for the artifacts of a local store.
            experiment: The name of the MLflow experiment.
            data: The data set of the study.

        Raises:
            ConnectionError: The store does not answer.
        """
        self.uri = tracking_uri
        self._data = data
        self.parent = ""  # the study's run id
        self.objective = Objective()
        self._study = ""
        self._study_id = ""
        self.finding = tag_names.PRESENT
        self.source_tags = source_tags()
        self._attempted = set[str]()  # actions that may have succeeded though they seemed to fail
        self._made = set[str]()  # runs that this process made, which hold nothing else
        self.client = patiently(tracking_uri, lambda: open_client(tracking_uri, create=True))
        self.experiment_id = patiently(
            tracking_uri, lambda: open_experiment(self.client, tracking_uri, root, experiment)
        )

    def start_study(self, study: str, study_id: str, params: Mapping[str, Any]) -> str:
        """Opens the study's run or creates it, and closes runs that a killed process left running.

        Args:
            study: The study's name.
            study_id: The study's id in its record, which no other study has.
            params: The parameters of the run; those that it has already are kept.

        Returns:
            The run's id.

        Raises:
            ConnectionError: The store does not answer.
        """
        self._study = study
        self._study_id = study_id
        self.objective = Objective(params.get("objective", Objective.metric), params.get("k", 10))
        patiently(self.uri, self._choose_tags)
        patiently(self.uri, self._close_running)
        self.parent = patiently(self.uri, lambda: self._open_parent(params))
        return self.parent

    def _choose_tags(self) -> None:
        """Has the study's runs found by the tags that it was begun with."""
        query = f"tags.`{tag_names.EARLIER.study_id}` = '{self._study_id}'"
        earlier = self.client.search_runs([self.experiment_id], query, ViewType.ALL, max_results=1)
        self.finding = tag_names.EARLIER if earlier else tag_names.PRESENT

    def _open_parent(self, params: Mapping[str, Any]) -> str:
        run = next(iter(self._parents()), None)
        if run is None and (deleted := self._parents(ViewType.DELETED_ONLY)):
            run = deleted[0]  # it lies in MLflow's bin
            self.client.restore_run(run.info.run_id)
        if run is not None:
            run_id = str(run.info.run_id)
            noted = run.data.params
            self.client.update_run(run_id, status="RUNNING")
        else:
            tags = {**self.source_tags, **version_tags()}
            run_id = self.create_run("study", f"study {self._study}", tags)
            noted = {}
        missing = {key: value for key, value in params.items() if key not in noted}
        self.client.log_batch(run_id, params=params_of(missing))
        return run_id

    def _parents(self, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
        return [run for run in self.runs(view=view) if PARENT_TAG not in run.data.tags]

    def _close_running(self) -> None:
        for run in self.runs("attributes.status = 'RUNNING'"):
            if PARENT_TAG in run.data.tags:
                run_id = run.info.run_id
                for model in self.models(run_id):  # the next run of the trial makes it again
                    self.client.delete_logged_model(model.model_id)
                self.set_tags(run_id, {STATE_TAG: "interrupted"})
                self.client.set_terminated(run_id, STATUS["interrupted"])

    def save_view(
        self, searched: Sequence[str], objective: Objective, is_ranked: bool = False
    ) -> None:
        """Saves a view of this study's trials and contestants, best first, which the UI then lists.

        Args:
            searched: The names of the parameters that differ between trials.
            objective: The metric by which they are ordered.
            is_ranked: Whether they have ranks by now, so that the winner is the first.
        """
        shown = f"tags.`{STUDY_TAG}` = '{self._study}' and tags.`{MODEL_TAG}` != ''"
        view = views.trials_view(self._study, shown, searched, objective, time.time(), is_ranked)
        tag = views.TAG + views.key_of(self._study_id)
        self.client.set_experiment_tag(self.experiment_id, tag, view)

    def describe_study(self, markdown: str) -> None:
        """Sets the Markdown that the UI shows on the parent run's page."""
        self.set_tags(self.parent, {NOTE_TAG: markdown})

    def end_study(self, state: str) -> None:
        """Closes the parent run."""
        self.set_tags(self.parent, {STATE_TAG: state})
        self.client.set_terminated(self.parent, STATUS[state])

    def log_result(self, metrics: Mapping[str, float], at: float, model_id: str) -> None:
        """Notes the winner's metrics on the parent run and on the winner's model."""
        metrics_of_both = self.metrics(rounded(metrics), 0, at, model_id)
        self.client.log_batch(self.parent, metrics=metrics_of_both)

    def keeps(self, name: str) -> bool:
        """Returns whether the parent run has the whole of the file of this name."""
        return tag_names.is_kept(name, self.client.get_run(self.parent).data.tags)

    def keep(self, path: Path) -> None:
        """Copies a file to the artifacts of the parent run."""
        self.client.log_artifact(self.parent, str(path))
        self.set_tags(self.parent, tag_names.of_kept(path.name))

    def ui_link(self) -> str:
        """Returns the address of this study's trials, best first, with charts."""
        parts = urlsplit(self.uri)
        is_server = parts.scheme in ("http", "https")
        server = redacted(self.uri) if is_server else "http://127.0.0.1:5000"
        return views.link(server, self.experiment_id, self._study_id)

    def runs(self, condition: str = "", view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
        """Returns the study's runs for which the condition holds, in MLflow's query language."""
        of_study = f"tags.`{self.finding.study_id}` = '{self._study_id}'"
        query = of_study + (condition and f" and {condition}")
        return all_runs(self.client, [self.experiment_id], query, view)

    def create_run(
        self, key: str, name: str, tags: Mapping[str, str], at: float | None = None
    ) -> str:
        """Creates a run, or finds the one of an earlier call whose answer was lost.

        Args:
            key: Identifies the run among those of the study.
            name: The name of the run.
            tags: The tags of the run beside those of the study.
            at: When it began, in seconds since 1970; None means now.

        Returns:
            The run's id.
        """
        condition = f"tags.`{self.finding.key}` = '{key}' and attributes.status = 'RUNNING'"
        run = next(iter(self.runs(condition) if self.is_repeated(key) else ()), None)
        if run is None:
            start = int((at or time.time()) * 1000)
            found_by = {self.finding.study_id: self._study_id, self.finding.key: key}
            own = {STUDY_TAG: self._study, **found_by}
            run = self.client.create_run(self.experiment_id, start, {**own, **tags}, name)
            self._made.add(str(run.info.run_id))
        run_id = str(run.info.run_id)
        dataset = Dataset(
            name=self._data.name,
            digest=self._data.digest,
            source_type="local",
            source=json.dumps({"fingerprint": self._data.fingerprint}),
            profile=json.dumps(dict(self._data.counts)),
        )
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])]
        try:
            self.client.log_inputs(run_id, inputs)
        except MlflowException:  # another study may have noted the same data set just now
            self.client.log_inputs(run_id, inputs)
        return run_id

    def models(self, run_id: str) -> Sequence[LoggedModel]:
        """Returns the logged models of a run."""
        return self.client.search_logged_models([self.experiment_id], f"source_run_id = '{run_id}'")

    def is_repeated(self, action: str) -> bool:
        """Notes that an action begins; returns whether it was begun before and may be done."""
        is_repeated = action in self._attempted
        self._attempted.add(action)
        return is_repeated

    def has_made(self, run_id: str) -> bool:
        """Returns whether this process created the run, so that it holds nothing of another's."""
        return run_id in self._made

    def metrics(
        self, values: Mapping[str, float], step: int, at: float, model_id: str | None = None
    ) -> list[Metric]:
        """Returns values as MLflow's metrics; MLflow keeps one of several that are equal."""
        milliseconds = int(at * 1000)
        dataset = (self._data.name, self._data.digest) if model_id else (None, None)
        return [
            Metric(
                key, float(value), milliseconds, step,
                model_id=model_id, dataset_name=dataset[0], dataset_digest=dataset[1],
            )
            for key, value in values.items()
        ]  # fmt: skip

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Sets tags of a run in one request."""
        self.client.log_batch(run_id, tags=tags_of(tags))
