"""The same command after MLflow has lost something of a study, which comes back as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from ncf.__main__ import main
from ncf.commands.command_line import parse
from ncf.commands.search import run
from ncf.serving.packaged import load_recommender
from tests.conftest import PROJECT, planted, write_interactions

pytestmark = pytest.mark.slow

OPTIONS = [
    "--data", "shop.csv", "--columns", "user=customer,item=sku,timestamp=bought", "--epochs", "2",
    "--trials", "4", "--jobs", "1", "--confirm", "1", "--confirm-seeds", "1",
    "--baselines", "popularity", "--quiet",
]  # fmt: skip
NAME = "gmf-shop"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, in which a study was searched."""
    write_interactions(planted(200, 60, seed=0), tmp_path / "shop.csv")
    monkeypatch.chdir(tmp_path)
    assert f"{NAME} version 1; version 1 is the new champion" in search()
    return tmp_path


def search() -> str:
    """Gives the search command; returns what it prints."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it, too
        assert run(parse(OPTIONS)) == 0, out.getvalue()
    return out.getvalue()


def gc(folder: Path) -> None:
    """Removes for good what was deleted."""
    uri = f"sqlite:///{folder}/mlruns/mlflow.db"
    subprocess.run(
        ["mlflow", "gc", "--tracking-uri", uri, "--backend-store-uri", uri],
        check=True, capture_output=True,
    )  # fmt: skip


def client_of(folder: Path) -> MlflowClient:
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlruns/mlflow.db")
    return MlflowClient()


def runs_of(client: MlflowClient) -> tuple[Run, list[Run]]:
    """Returns the study's run and the runs below it; there are no others."""
    experiment = client.get_experiment_by_name("shop")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    others = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in others} == {parent.info.run_id}
    return parent, others


def check_models(client: MlflowClient) -> None:
    """Checks that each of the four trials has one model that loads."""
    _, others = runs_of(client)
    trials = [run for run in others if "ncf.trial" in run.data.tags]
    assert sorted(run.data.tags["ncf.trial"] for run in trials) == ["0", "1", "2", "3"]
    for trial in trials:
        query = f"source_run_id = '{trial.info.run_id}'"
        (model,) = client.search_logged_models([trial.info.experiment_id], query)
        files = mlflow.artifacts.download_artifacts(f"models:/{model.model_id}")
        load_recommender(Path(files) / "data" / "model")


def delete_registered_model(client: MlflowClient) -> None:
    client.delete_registered_model(NAME)


def delete_version(client: MlflowClient) -> None:
    client.delete_model_version(NAME, "1")


def delete_alias(client: MlflowClient) -> None:
    client.delete_registered_model_alias(NAME, "champion")


@pytest.mark.parametrize(
    ("delete", "version"),
    [(delete_registered_model, "1"), (delete_version, "2"), (delete_alias, "1")],
)
def test_what_was_deleted_in_the_registry_is_registered_again(
    folder: Path, delete: Callable[[MlflowClient], None], version: str
) -> None:
    client = client_of(folder)
    delete(client)
    out = search()
    assert f"{NAME} version {version}; version {version} is the new champion" in out
    assert str(client.get_model_version_by_alias(NAME, "champion").version) == version


def test_a_champion_that_a_person_has_made_stays_and_is_told(folder: Path) -> None:
    client = client_of(folder)
    trial = next(run for run in runs_of(client)[1] if run.data.tags.get("ncf.trial") == "1")
    for arguments in (("register", trial.info.run_id), ("promote", f"{NAME}/2", "--force")):
        assert main([*arguments]) == 0
    assert f"{NAME} version 1; version 2 is the champion" in search()


def test_after_gc_everything_is_made_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = client_of(folder)
    parent, others = runs_of(client)
    for one in (parent, *others):
        client.delete_run(one.info.run_id)
    for model in client.search_logged_models([parent.info.experiment_id]):
        client.delete_logged_model(model.model_id)
    gc(folder)
    assert main(["compare", "1", "1"]) == 2
    assert "was deleted in MLflow" in capsys.readouterr().err
    assert "version 2 is the new champion, in place of version 1" in search()
    check_models(client)
    assert main(["recommend", "--user", "c1"]) == 0


def test_a_study_whose_run_is_gone_for_good_has_a_new_one(folder: Path) -> None:
    client = client_of(folder)
    parent, _ = runs_of(client)
    client.delete_run(parent.info.run_id)
    gc(folder)
    assert "version 1 stays champion" in search()
    assert runs_of(client)[0].info.run_id != parent.info.run_id
    check_models(client)
    assert main(["compare", f"{NAME}/1", f"{NAME}/2"]) == 0


def test_a_lost_store_is_filled_again_with_the_same_models(folder: Path) -> None:
    def weights() -> set[bytes]:
        files = (folder / "mlruns" / "artifacts").rglob("weights.safetensors")
        return {file.read_bytes() for file in files}

    before = weights()
    shutil.rmtree(folder / "mlruns" / "artifacts")
    for file in (folder / "mlruns").glob("mlflow.db*"):
        file.unlink()
    again = subprocess.run(  # in a process that has not had the lost file open
        [sys.executable, str(PROJECT / "search.py"), *OPTIONS],
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "version 1 is the new champion" in again.stdout
    assert weights() == before
    engines = SqlAlchemyStore._engine_map
    engines.pop(f"sqlite:///{folder}/mlruns/mlflow.db").dispose()
    check_models(client_of(folder))
