"""What is done where a run, a version or the store of a study was deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import mlflow
import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from ncf.study.experiment import DataFacts
from ncf.tracking import gate, registry
from ncf.tracking.database import guard
from ncf.tracking.logged_models import ModelFiles, is_whole, log_model
from ncf.tracking.recovery import adopt
from ncf.tracking.store import open_client
from ncf.tracking.tag_names import PARENT_TAG
from ncf.tracking.tracker import Tracker

FACTS = DataFacts("toy", "0123456789abcdef", {"users": 3})


def begin(folder: Path) -> Tracker:
    tracker = Tracker(f"sqlite:///{folder}/mlflow.db", folder, "toy", FACTS)
    tracker.start_study("toy", "id", {"seed": 0})
    return tracker


def log_trial(tracker: Tracker, folder: Path) -> tuple[str, str]:
    """Logs a run with a model that points to its study's catalogue; returns both ids."""
    run_id = tracker.create_run("trial-0", "trial 0", {PARENT_TAG: tracker.parent})
    data = folder / "packaged" / "data" / "model"
    data.mkdir(parents=True, exist_ok=True)
    (folder / "packaged" / "MLmodel").write_text("flavors: {}")
    (data / "catalogue.json").write_text(json.dumps({"uri": f"runs:/{tracker.parent}/c.npz"}))
    model_id = log_model(tracker, run_id, "trial-0", "trial-0", folder / "packaged", {}, 1)
    tracker.client.set_terminated(run_id)
    return run_id, model_id


def test_a_deleted_run_of_the_study_is_taken_out_of_the_bin(tmp_path: Path) -> None:
    tracker = begin(tmp_path)
    run_id, _ = log_trial(tracker, tmp_path)
    tracker.client.delete_run(tracker.parent)
    again = begin(tmp_path)
    assert again.parent == tracker.parent
    assert again.client.get_run(again.parent).info.lifecycle_stage == "active"
    assert again.client.get_run(run_id).data.tags[PARENT_TAG] == again.parent


def test_where_it_is_gone_for_good_its_runs_and_their_models_have_a_new_one(
    tmp_path: Path,
) -> None:
    tracker = begin(tmp_path)
    run_id, model_id = log_trial(tracker, tmp_path)
    tracker.client.delete_run(tracker.parent)
    store = SqlAlchemyStore(tracker.uri, str(tmp_path))  # type: ignore[no-untyped-call]
    store._hard_delete_run(tracker.parent)  # type: ignore[no-untyped-call] # as `mlflow gc` does
    again = begin(tmp_path)
    assert again.parent != tracker.parent
    models = ModelFiles(tmp_path, cast(Any, None), f"runs:/{again.parent}/c.npz")
    for _ in range(2):
        adopt(again, models)
    assert again.client.get_run(run_id).data.tags[PARENT_TAG] == again.parent
    model = Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}"))
    assert json.loads((model / "data" / "model" / "catalogue.json").read_text()) == {
        "uri": models.catalogue_uri
    }


def test_a_model_is_whole_as_long_as_mlflow_has_it_with_its_files(tmp_path: Path) -> None:
    tracker = begin(tmp_path)
    run_id, model_id = log_trial(tracker, tmp_path)
    assert is_whole(tracker.client, model_id)
    (file,) = (tmp_path / "artifacts").rglob("MLmodel")
    location = file.parent
    location.rename(tmp_path / "aside")
    assert not is_whole(tracker.client, model_id)
    assert log_trial(begin(tmp_path), tmp_path)[1] != model_id  # of another run
    (tmp_path / "aside").rename(location)
    assert is_whole(tracker.client, model_id)
    tracker.client.delete_logged_model(model_id)
    assert not is_whole(tracker.client, model_id)
    assert run_id


def test_a_champion_without_files_gives_way(tmp_path: Path) -> None:
    tracker = begin(tmp_path)
    tags = {f"{registry.OBJECTIVE}ndcg_10": "0.5"}
    versions = []
    for n in range(2):
        packaged = tmp_path / f"winner-{n}"
        packaged.mkdir()
        (packaged / "MLmodel").write_text("flavors: {}")
        model_id = log_model(tracker, tracker.parent, f"winner-{n}", "winner", packaged, {}, 1)
        new = registry.register(tracker.client, "toy", model_id, tracker.parent, tags, "a toy")
        versions.append((new, model_id))
    assert "version 1 is the new" in gate.crown_if_better(tracker.client, versions[0][0])
    assert "version 1 stays" in gate.crown_if_better(tracker.client, versions[1][0])
    (lost,) = (tmp_path / "artifacts").rglob(f"{versions[0][1]}")
    lost.rename(tmp_path / "aside")
    decision = gate.crown_if_better(tracker.client, versions[1][0])
    assert decision == (
        "version 2 is the new champion, in place of version 1, whose files are gone"
    )


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_store_that_is_lost_is_noticed(tmp_path: Path, is_replaced: bool) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    open_client(uri, create=True)
    check = guard(uri)
    check()
    (tmp_path / "mlflow.db").rename(tmp_path / "aside.db")
    if is_replaced:
        open_client(uri, create=True)
    with pytest.raises(FileNotFoundError, match=r"mlflow\.db was removed or replaced"):
        check()
    (tmp_path / "aside.db").replace(tmp_path / "mlflow.db")
    check()
    guard("http://127.0.0.1:5000")()
