"""Versions that were registered with the UI's own button, and champions that it made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel

from ncf.__main__ import main
from ncf.serving.packaged import load_recommender
from ncf.tracking import comparison, marks, registry
from ncf.tracking.packaging import stands_alone


@pytest.fixture
def client(searched: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(searched[0])
    mlflow.set_tracking_uri(f"sqlite:///{searched[0]}/mlruns/mlflow.db")
    return MlflowClient()


def model_of_trial(client: MlflowClient, place: int) -> LoggedModel:
    """Returns the model of one of the worst trials, which no other test needs as it was."""
    ours = client.get_model_version("gmf-shop", "1")
    experiment = client.get_run(str(ours.run_id)).info.experiment_id
    runs = client.search_runs(
        [experiment],
        "tags.`ncf.study` = 'shop' and tags.`ncf.trial` != ''",
        order_by=["metrics.`validation_best/ndcg_10` ASC"],
    )
    query = f"source_run_id = '{runs[place].info.run_id}'"
    (model,) = client.search_logged_models([experiment], query)
    return model


def test_a_version_without_tags_is_read_from_its_run(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the button does: a name, a source and a run, and no tag."""
    ours = client.get_model_version("gmf-shop", "1")
    trial = model_of_trial(client, 0)
    client.create_registered_model("by-hand")
    try:
        for model_id, run_id in (
            (str(ours.source).removeprefix("models:/"), str(ours.run_id)),
            (str(trial.model_id), trial.source_run_id),
        ):
            client.create_model_version("by-hand", f"models:/{model_id}", run_id, model_id=model_id)
        assert main(["models", "--json"]) == 0
        rows = {row["version"]: row for row in json.loads(capsys.readouterr().out)}
        winner, first, known = (rows[name] for name in ("by-hand/1", "by-hand/2", "gmf-shop/1"))
        for column in ("metric", "validation", "test", "study", "trial", "model", "setting"):
            assert winner[column] == known[column], column
        assert trial.name == f"trial-{int(first['trial']):04d}"
        assert first["test"] == "not read"
        marked = marks.find(client, "by-hand/1").tags
        names = ("protocol", "fingerprint", "fitted_on", registry.SEEDS)
        assert {name: marked[name] for name in names} == {name: ours.tags[name] for name in names}
        assert main(["compare", "gmf-shop/1", "by-hand/1", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[1]["difference"] == 0
        assert main(["promote", "by-hand/2"]) == 0
        assert "is the new champion" in capsys.readouterr().out
        assert main(["promote", "by-hand/1"]) == 2
        refusal = capsys.readouterr().err
        assert "fitted on" in refusal
        assert f"version 1 nDCG@10 {winner['validation']}" in refusal
        assert f"version 2 nDCG@10 {first['validation']}" in refusal
        assert "Needed is" in refusal
    finally:
        client.delete_registered_model("by-hand")


def test_a_trial_that_the_button_registered_stands_alone_from_then_on(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for place, command in ((1, "models"), (2, "register")):
        trial = model_of_trial(client, place)
        name, model_id, run_id = f"pressed-{command}", str(trial.model_id), str(trial.source_run_id)
        client.create_registered_model(name)
        try:
            client.create_model_version(name, f"models:/{model_id}", run_id, model_id=model_id)
            assert not stands_alone(client, model_id)
            more = [run_id, "--name", name] if command == "register" else []
            assert main([command, *more]) == 0
            assert stands_alone(client, model_id)
            (version,) = client.search_model_versions(f"name = '{name}'")
            assert str(version.description).startswith("GMF, nDCG@10 0.")
            assert "Test was not read. Fitted on train, with dim " in str(version.description)
            assert trial.name == f"trial-{int(version.tags['trial']):04d}"
            away = shutil.copytree(
                mlflow.artifacts.download_artifacts(f"models:/{name}/1"), tmp_path / name
            )
            (away / "data" / "model" / "catalogue.json").unlink()  # the way to the store
            assert load_recommender(away / "data" / "model").recommend(["c7"], 1)[0].known
        finally:
            client.delete_registered_model(name)


def test_a_model_whose_completion_was_cut_short_is_completed_by_the_next_command(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a kill while the files are copied, or a server that is lost: in whatever order."""
    model_id = str(model_of_trial(client, 4).model_id)
    log = MlflowClient.log_model_artifacts

    def log_some(self: MlflowClient, model_id: str, folder: str) -> None:
        (code,) = (Path(folder) / "code").iterdir()
        (code / "packaged.py").unlink()
        log(self, model_id, folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, "log_model_artifacts", log_some)
        with pytest.raises(KeyboardInterrupt):
            registry.make_whole(client, model_id)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}"))
    assert not [*folder.glob("code/*/packaged.py")]
    assert load_recommender(folder / "data" / "model").recommend(["c7"], 1)[0].known
    registry.make_whole(client, model_id)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}"))
    assert [*folder.glob("code/*/packaged.py")]
    assert stands_alone(client, model_id)


def test_a_version_whose_catalogue_is_gone_is_told_of_and_listed(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    trial = model_of_trial(client, 3)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{trial.model_id}"))
    pointer = folder / "data" / "model" / "catalogue.json"
    before = pointer.read_text()
    client.create_registered_model("orphan")
    try:
        pointer.write_text(json.dumps({"uri": f"runs:/{'0' * 32}/catalogue.npz"}))
        client.create_model_version("orphan", f"models:/{trial.model_id}", trial.source_run_id)
        assert main(["models", "--json"]) == 0
        assert "orphan/1" in {row["version"] for row in json.loads(capsys.readouterr().out)}
        assert "orphan/1 does not load" in caplog.text
    finally:
        pointer.write_text(before)
        client.delete_registered_model("orphan")


@pytest.mark.parametrize("n_calls", [0, 1, 3, 9])
def test_a_version_whose_marking_was_cut_short_is_marked_by_the_next_command(
    n_calls: int,
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As by a kill, or by a server that is lost between two requests."""
    ours = client.get_model_version("gmf-shop", "1")
    client.create_registered_model("cut-short")
    try:
        client.create_model_version("cut-short", str(ours.source), ours.run_id)
        write, written = MlflowClient.set_model_version_tag, list[str]()

        def write_some(self: MlflowClient, name: str, version: str, key: str, value: str) -> None:
            if len(written) == n_calls:
                raise KeyboardInterrupt
            written.append(key)
            write(self, name, version, key, value)

        with monkeypatch.context() as cut:
            cut.setattr(MlflowClient, "set_model_version_tag", write_some)
            with pytest.raises(KeyboardInterrupt):
                marks.find(client, "cut-short/1")
        assert len(written) == n_calls
        assert main(["models", "--json"]) == 0
        rows = {row["version"]: row for row in json.loads(capsys.readouterr().out)}
        known, mine = rows["gmf-shop/1"], rows["cut-short/1"]
        for column in ("metric", "validation", "test", "study", "trial", "model", "setting"):
            assert mine[column] == known[column], column
        tags = client.get_model_version("cut-short", "1").tags
        for name in ("protocol", "fingerprint", "fitted_on", registry.SEEDS):
            assert tags[name] == ours.tags[name], name
    finally:
        client.delete_registered_model("cut-short")


def test_a_version_of_another_project_is_left_alone(client: MlflowClient) -> None:
    client.create_registered_model("foreign")
    try:
        version = client.create_model_version("foreign", "file:///nowhere")
        assert marks.mark(client, version).tags == {}
    finally:
        client.delete_registered_model("foreign")


def test_of_several_champions_the_one_that_answers_and_the_others_are_named(
    client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    ours = client.get_model_version("gmf-shop", "1")
    client.create_registered_model("later")
    try:
        version = client.create_model_version("later", str(ours.source), ours.run_id)
        client.set_registered_model_alias("later", "champion", version.version)
        uri, _ = registry.load(None, mlflow.get_tracking_uri())
        assert uri == "models:/later@champion"
        answers, _, others = caplog.text.partition("answers, and not")
        assert "later@champion" in answers
        assert "gmf-shop@champion" in others  # beside those that other tests have left
    finally:
        client.delete_registered_model("later")


def test_a_version_is_named_as_the_commands_print_it(client: MlflowClient) -> None:
    uri, recommender = registry.load("gmf-shop/1", mlflow.get_tracking_uri())
    assert uri == "models:/gmf-shop/1"
    assert recommender.recommend(["c7"], 1)[0].known


def test_versions_of_other_splits_are_not_compared(client: MlflowClient) -> None:
    ours = client.get_model_version("gmf-shop", "1")
    client.create_registered_model("by-time")
    try:
        tags = ours.tags | {"protocol": "by time, 99 negatives, k 10, seed 0, one seed"}
        client.create_model_version("by-time", str(ours.source), ours.run_id, tags=tags)
        other = client.get_model_version("by-time", "1")
        with pytest.raises(ValueError, match=r"hold out other items \(.*; by time\)"):
            comparison.compare(client, ours, other)
    finally:
        client.delete_registered_model("by-time")
