"""What MLflow is told, at a real server whose answers are lost, refused and wrong on purpose."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from ncf.commands.trials import why_missing
from ncf.models.gmf.setting import Hyperparameters
from ncf.study.experiment import DataFacts
from ncf.study.results import Confirmed, Contestant
from ncf.tracking import cleaning, gate, mirror, registry, store, tag_names, versions
from ncf.tracking.contest_runs import log_confirmation, log_contestant
from ncf.tracking.logged_models import ModelFiles, log_model
from ncf.tracking.mirror import Mirror
from ncf.tracking.recorded import logged_trials
from ncf.tracking.tracker import Tracker
from ncf.tracking.trial_runs import TrialRecord, write_trial
from ncf.trials.messages import EpochReport, Failure, Outcome
from tests.proxy import ERROR, LOSE, PASS, REFUSE, Proxy

FACTS = DataFacts("toy", "0123456789abcdef", {"users": 3})
SETTING = Hyperparameters()
METRICS = {"ndcg_10": 0.25}


def outcome(number: int) -> Outcome:
    return Outcome(number, number == 1, 3, 2, METRICS, METRICS, 1.5, 1.7e9)


def record(number: int, end: Outcome | Failure | None) -> TrialRecord:
    reports = [EpochReport(number, e, 1.7e9 + e, 0.5, 0.1, 100, METRICS) for e in (1, 2, 3)]
    return TrialRecord(number, SETTING, 1.7e9, reports, end)


class PlantedModels:
    """Models of one file, in place of `ModelFiles`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def weights(self, number: int) -> Path:
        return self.folder / f"{number}.safetensors"

    def log(self, tracker: Tracker, run_id: str, end: Outcome, setting: Hyperparameters) -> str:
        packaged = self.folder / f"model-{end.number}"
        packaged.mkdir(exist_ok=True)
        (packaged / "MLmodel").write_bytes(self.weights(end.number).read_bytes())
        name = f"trial-{end.number}"
        return log_model(tracker, run_id, "key", name, packaged, {"a": 1}, 2)


@pytest.fixture
def models(tmp_path: Path) -> ModelFiles:
    for number in range(3):
        (tmp_path / f"{number}.safetensors").write_text("flavors: {}")
    return cast(ModelFiles, PlantedModels(tmp_path))


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store without a server."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short pauses, and the environment as it was."""
    monkeypatch.setattr(mirror, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(mirror, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(store, "PAUSE", 0.01)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)


def write_study(tracker: Tracker, models: ModelFiles, folder: Path) -> dict[str, str]:
    """Has all of a small study written by a mirror; returns what was registered."""
    tracker.start_study("toy", "id-of-toy", {"seed": 0})
    queue, registered = Mirror(), {}
    (folder / "report.html").write_text("page")

    def register() -> None:
        packaged = folder / "winner"
        model_id = log_model(tracker, tracker.parent, "winner", "winner", packaged, {}, 2)
        tracker.log_result({"test/ndcg_10": 0.75}, 1.8e9, model_id)
        tags = {f"{registry.OBJECTIVE}ndcg_10": "0.25"}
        version = registry.register(tracker.client, "toy", model_id, tracker.parent, tags, "a toy")
        registered["decision"] = gate.crown_if_better(tracker.client, version)

    (folder / "winner").mkdir()
    (folder / "winner" / "MLmodel").write_text("flavors: {}")
    running = [record(0, None), record(1, None), record(2, None)]
    for each in running:
        queue.put(f"trial {each.number}", partial(write_trial, each, tracker, models))
    time.sleep(0.1)  # some of it is written before the trials have ended
    ends: list[Outcome | Failure] = [outcome(0), outcome(1), Failure(2, "no", "line 1")]
    for each, end in zip(running, ends, strict=True):
        each.end = end
        queue.put(f"trial {each.number}", partial(write_trial, each, tracker, models))
    outcomes = tuple(replace(outcome(0), time=1.8e9 + seed) for seed in (0, 1))
    confirmed = Confirmed(0, SETTING, outcomes, (0.25, 0.35))
    queue.put("confirmation", lambda: log_confirmation(tracker, confirmed))
    baseline = Contestant("ials", 0, SETTING, {}, 0, {}, "one setting", is_trial=False)
    metrics = {"test/x": 0.5}
    queue.put("baseline", lambda: log_contestant(tracker, baseline, metrics, {}, "a note", 1.8e9))
    queue.put("report", lambda: tracker.keep(folder / "report.html"))
    queue.put("registration", register)
    queue.put("end", lambda: tracker.end_study("finished"))
    assert queue.finish(60.0) == ""
    return registered


def runs_by_key(client: MlflowClient) -> dict[str, list[Run]]:
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    found: dict[str, list[Run]] = {}
    for run in client.search_runs([experiment.experiment_id]):
        found.setdefault(run.data.tags["mlflow.ncf.key"], []).append(run)
    return found


@pytest.mark.slow
def test_lost_answers_errors_and_refusals_leave_everything_there_once(
    tracking_server: int, models: ModelFiles, tmp_path: Path
) -> None:
    n_calls: Counter[str] = Counter()

    def fault(path: str) -> str:  # each kind of request fails in each way, again and again
        kind = "/".join(path.partition("?")[0].split("/")[:6])
        n_calls[kind] += 1
        return [LOSE, ERROR, REFUSE, *[PASS] * 9][(n_calls[kind] - 1) % 12]

    with Proxy(tracking_server, fault) as proxy:
        registered = write_study(Tracker(proxy.uri, tmp_path, "toy", FACTS), models, tmp_path)
    assert min(proxy.counts[fault] for fault in (LOSE, ERROR, REFUSE)) >= 15
    client = MlflowClient(f"http://127.0.0.1:{tracking_server}")
    mlflow.set_tracking_uri(f"http://127.0.0.1:{tracking_server}")
    runs = runs_by_key(client)
    states = {
        "study": "FINISHED",
        "trial-0": "FINISHED",
        "trial-1": "FINISHED",
        "trial-2": "FAILED",
    }
    states |= {"confirmation-0-0": "FINISHED", "confirmation-0-1": "FINISHED"}
    states |= {"baseline-ials": "FINISHED"}
    assert {key: [run.info.status for run in found] for key, found in runs.items()} == {
        key: [state] for key, state in states.items()
    }
    for key in ("trial-0", "trial-1", "trial-2"):
        run_id = runs[key][0].info.run_id
        steps = [m.step for m in client.get_metric_history(run_id, "validation/ndcg_10")]
        assert steps == [1, 2, 3]
        n_best = 0 if key == "trial-2" else 1
        assert len(client.get_metric_history(run_id, "validation_best/ndcg_10")) == n_best
        outputs = runs[key][0].outputs
        assert len(outputs.model_outputs if outputs else []) == n_best
    parent = runs["study"][0].info.run_id
    assert len(client.get_metric_history(parent, "test/ndcg_10")) == 1
    assert "line 1" in runs["trial-2"][0].data.tags["mlflow.note.content"]
    found = client.search_logged_models([runs["study"][0].info.experiment_id])
    assert sorted((m.name, m.status) for m in found) == [
        (name, "READY") for name in ("trial-0", "trial-1", "winner")
    ]
    assert [file.path for file in client.list_artifacts(parent)] == ["report.html"]
    assert len(client.search_model_versions("name = 'toy'")) == 1
    assert registered["decision"].startswith("version 1 is the ")
    assert client.get_model_version_by_alias("toy", "champion").version == "1"


def test_what_a_kill_left_running_is_closed_and_its_model_deleted(
    uri: str, models: ModelFiles, tmp_path: Path
) -> None:
    tracker = Tracker(uri, tmp_path, "toy", FACTS)
    parent = tracker.start_study("toy", "id", {"seed": 0})
    killed = record(0, None)
    write_trial(killed, tracker, models)
    models.log(tracker, killed.run_id, outcome(0), SETTING)
    other = Tracker(uri, tmp_path, "toy", FACTS)  # another study, which goes on
    other.start_study("other", "other id", {})
    others = record(0, None)
    write_trial(others, other, models)

    again = Tracker(uri, tmp_path, "toy", FACTS)
    assert again.start_study("toy", "id", {"seed": 0}) == parent
    run = again.client.get_run(killed.run_id)
    assert (run.info.status, run.data.tags["ncf.state"]) == ("FAILED", "interrupted")
    assert again.client.search_logged_models([again.experiment_id]) == []
    assert again.client.get_run(others.run_id).info.status == "RUNNING"
    assert logged_trials(again) == {}
    write_trial(record(0, outcome(0)), again, models)
    assert [*logged_trials(again)] == [0]
    assert len(again.client.search_logged_models([again.experiment_id])) == 1


def test_a_trial_is_found_by_its_number_beside_a_run_that_a_kill_left(
    uri: str, models: ModelFiles, tmp_path: Path
) -> None:
    """As where MLflow was away when the trial ended: the next search writes it from the record."""
    tracker = Tracker(uri, tmp_path, "toy", FACTS)
    tracker.start_study("killed", "killed id", {"seed": 0})
    killed = record(1, None)
    killed.started_at += 1.0  # when it was handed out; the record has when it was decided
    write_trial(killed, tracker, models)
    tracker.start_study("killed", "killed id", {"seed": 0})
    written = record(1, outcome(1))
    write_trial(written, tracker, models)
    assert versions.run_id_of(tracker.client, "killed/1") == written.run_id
    runs = cleaning.runs_of(tracker.client, "killed id")
    assert f" register {written.run_id}" in why_missing(runs, 1)


def test_a_study_of_an_earlier_version_is_found_by_the_tags_that_it_was_begun_with(
    uri: str, models: ModelFiles, tmp_path: Path
) -> None:
    tracker = Tracker(uri, tmp_path, "toy", FACTS)
    of_study = {"ncf.study": "old", "ncf.study_id": "old id"}
    kept = {"ncf.kept.catalogue.npz": "whole"}
    tags = {**of_study, "ncf.key": "study", **kept}
    parent = tracker.client.create_run(tracker.experiment_id, tags=tags).info.run_id
    tags = {**of_study, "ncf.key": "trial-0", "ncf.trial": "0", "mlflow.parentRunId": parent}
    killed = tracker.client.create_run(tracker.experiment_id, tags=tags).info.run_id
    model = tracker.client.create_logged_model(
        tracker.experiment_id, "trial-0", killed, {"ncf.key": "key"}
    )
    assert tracker.start_study("old", "old id", {}) == parent
    assert tracker.client.get_run(killed).data.tags["ncf.state"] == "interrupted"
    assert tracker.models(killed) == []
    assert tracker.keeps("catalogue.npz")
    assert not tracker.keeps("candidates.npz")
    written = record(1, outcome(1))
    write_trial(written, tracker, models)
    assert tracker.client.get_run(written.run_id).data.tags["ncf.key"] == "trial-1"
    assert {*logged_trials(tracker)} == {1}
    assert {run.info.run_id for run in cleaning.runs_of(tracker.client, "old id")} == {
        parent, killed, written.run_id,
    }  # fmt: skip
    assert tag_names.key_of(model.tags) == "key"


def test_the_ui_hides_the_tags_that_only_this_program_reads(
    uri: str, models: ModelFiles, tmp_path: Path
) -> None:
    """It shows those whose names do not begin with `mlflow.`."""
    tracker = Tracker(uri, tmp_path, "toy", FACTS)
    parent = tracker.start_study("new", "new id", {})
    (tmp_path / "file.npz").write_text("")
    tracker.keep(tmp_path / "file.npz")
    assert tracker.keeps("file.npz")
    written = record(1, outcome(1))
    write_trial(written, tracker, models)
    (model,) = tracker.models(written.run_id)
    shown = [
        {name for name in tags if not name.startswith(("mlflow.", "version."))}
        for tags in (
            tracker.client.get_run(parent).data.tags,
            tracker.client.get_run(written.run_id).data.tags,
            model.tags,
        )
    ]
    assert shown == [{"ncf.study"}, {"ncf.study", "ncf.trial", "ncf.model", "ncf.state"}, set()]


def test_two_studies_may_make_the_experiment_at_once(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Tracker(uri, tmp_path, "toy", FACTS)
    find, calls = MlflowClient.get_experiment_by_name, []

    def blind_at_first(client: MlflowClient, name: str) -> Any:
        calls.append(name)
        return None if len(calls) == 1 else find(client, name)

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", blind_at_first)
    assert Tracker(uri, tmp_path, "toy", FACTS).experiment_id == first.experiment_id
    assert len(calls) == 2


def test_a_store_that_does_not_answer_is_one_line_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE", 0.0)
    with pytest.raises(ConnectionError) as raised:
        Tracker("http://me:secret@127.0.0.1:9", tmp_path, "toy", FACTS)
    assert str(raised.value) == (
        "MLflow at http://***@127.0.0.1:9 cannot be used (nothing answers there): start it, or "
        "name another store with --tracking-uri; what the study has is kept"
    )
    (tmp_path / "mlflow.db").write_text("no database at all, whatever its name says" * 50)
    with pytest.raises(ValueError, match="file is not a database"):
        Tracker(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "toy", FACTS)
