"""Versions through `python -m ncf`: any trial registered, compared, promoted; on a real search."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.tracking._tracking_service import utils

from ncf.__main__ import main
from ncf.tracking import next_steps
from ncf.tracking.registry import champion

Searched = tuple[Path, str]


@pytest.fixture
def client(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(searched[0])
    mlflow.set_tracking_uri(f"sqlite:///{searched[0]}/mlruns/mlflow.db")
    return MlflowClient()


def trials_of(client: MlflowClient) -> list[Run]:
    """Returns the runs of the first study's trials, the best on validation first."""
    experiment = client.get_experiment_by_name("shop")
    assert experiment is not None
    return list(
        client.search_runs(
            [experiment.experiment_id],
            "tags.`ncf.study` = 'shop' and tags.`ncf.trial` != ''",
            order_by=["metrics.`validation_best/ndcg_10` DESC"],
        )
    )


def model_of(client: MlflowClient, run: Run) -> str:
    """Returns the id of a trial's logged model."""
    (model,) = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    return str(model.model_id)


def command(capsys: pytest.CaptureFixture[str], *arguments: str, expect: int = 0) -> str:
    """Returns what the command prints, or its error."""
    capsys.readouterr()
    assert main(list(arguments)) == expect
    output, errors = capsys.readouterr()
    if expect:
        *_, errors = errors.splitlines()  # after the model's URI
        assert errors.startswith("error: ")
    return errors if expect else output


def rows_of(output: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(output)))


def test_trials_become_versions_and_the_better_one_is_promoted(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    best, *_, worst = trials_of(client)

    def register(run: Run) -> str:
        return command(capsys, "register", run.info.run_id, "--name", "mine")

    assert "Fitted on train, with " in register(worst)
    assert "Test was not read" in register(best)
    assert register(best).startswith("mine/2:")  # the same again is no third version
    assert command(capsys, "promote", "mine/1") == "mine: version 1 is the new champion\n"
    # what has not been shown to be better is not promoted but by force
    promoted = command(capsys, "promote", "mine/2")
    assert "in place of version 1" in promoted
    evidence = (
        r"on validation, over the same 1,200 users and candidates, nDCG@10 of version 2 less that "
        r"of version 1 is \+(0\.\d{4}) \[[+-]0\.\d{4}, \+0\.\d{4}\], "
    )
    found = re.search(evidence, promoted)
    assert found is not None
    value, lower = (run.data.metrics["validation_best/ndcg_10"] for run in (best, worst))
    assert float(found[1]) == pytest.approx(value - lower, abs=1e-4)
    noted = client.get_model_version("mine", "2").tags
    assert noted["held_against"] == "version 1"
    assert f"mine: {noted['decision']}\n" == promoted
    error = command(capsys, "promote", "mine/1", expect=2)
    assert "version 2 stays champion: validation nDCG@10 of version 2 is" in error
    assert "--force" in error
    assert "stayed champion" in client.get_model_version("mine", "1").tags["decision"]
    forced = command(capsys, "promote", "mine/1", "--force")
    assert "in place of version 2 by --force, though validation nDCG@10 of version 2 is" in forced
    now = champion(client, "mine")
    assert now is not None
    assert str(now.version) == "1"
    assert "in place of version 2" in now.tags["champion_since"]

    listed = {row["version"]: row for row in rows_of(command(capsys, "models"))}
    assert {"gmf-shop/1", "mine/1", "mine/2"} <= listed.keys()
    assert listed["mine/1"]["alias"] == "champion"
    assert listed["mine/2"]["alias"] == ""
    assert listed["mine/2"]["trial"] == best.data.tags["ncf.trial"]
    value = best.data.metrics["validation_best/ndcg_10"]
    assert listed["mine/2"]["validation"] == f"{value:.4f}"
    assert listed["mine/2"]["test"] == "not read"
    as_json = json.loads(command(capsys, "models", "--json"))
    assert {row["version"] for row in as_json} == set(listed)
    assert "mine" in client.get_logged_model(model_of(client, best)).tags["mlflow.modelVersions"]


def test_a_registered_trial_stands_alone_and_answers_as_before(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trial = trials_of(client)[1]
    shared = f"models:/{model_of(client, trial)}"
    assert "catalogue.npz" not in {path.name for path in folder_of(shared).rglob("*")}
    asked = ("recommend", "--user", "c7", "--user", "stranger", "--model")
    before = command(capsys, *asked, shared)
    command(capsys, "register", trial.info.run_id, "--name", "alone")
    folder = folder_of("models:/alone/1")
    files = {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}
    by_number = f"shop/{trial.data.tags['ncf.trial']}"
    command(capsys, "register", by_number, "--name", "alone")  # again, writes nothing
    assert {
        path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")
    } == files  # fmt: skip
    shutil.copytree(folder, tmp_path / "away")
    (tmp_path / "away" / "data" / "model" / "catalogue.json").unlink()  # the way to the store
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/none.db")
    model = mlflow.pyfunc.load_model(str(tmp_path / "away"))
    found = model.predict(pd.DataFrame({"user_id": ["c7", "stranger"]}))
    rows = rows_of(before)
    assert [item for items in found["item_ids"] for item in items] == [
        row["item_id"] for row in rows
    ]
    scores = [f"{score}" for scores in found["scores"] for score in scores]
    assert scores == [row["score"] for row in rows]
    assert command(capsys, *asked, "models:/alone/1", "--tracking-uri", client.tracking_uri) == (
        before
    )


def folder_of(uri: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(uri))


def test_a_winner_and_a_trial_are_not_compared_as_one_knows_more(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    best, *_ = trials_of(client)
    trial = command(capsys, "register", best.info.run_id, "--name", "gmf-shop").split(":")[0]
    error = command(capsys, "promote", trial, expect=2)
    assert "was fitted on train + validation, version" in error
    assert (
        "them is unfair: compare winners of searches with winners, and trials with trials" in error
    )
    client.delete_model_version("gmf-shop", trial.partition("/")[2])


def test_a_comparison_gives_what_the_search_found_on_test(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    worst = trials_of(client)[-1]
    command(capsys, "register", worst.info.run_id, "--name", "worst")
    rows: dict[str, dict[str, Any]] = {
        row["metric"]: row
        for row in json.loads(command(capsys, "compare", "gmf-shop@champion", "worst/1", "--json"))
    }
    parent = client.get_run(worst.data.tags["mlflow.parentRunId"])
    for shown, logged in (
        ("HR@10", "test/hit_ratio_10"),
        ("nDCG@10", "test/ndcg_10"),
        ("full HR@10", "test_full/hit_ratio_10"),
        ("full nDCG@10", "test_full/ndcg_10"),
    ):
        assert rows[shown]["gmf-shop/1"] == pytest.approx(parent.data.metrics[logged], abs=1e-4)
    difference = rows["nDCG@10"]
    assert difference["low"] < difference["difference"] < difference["high"]
    assert difference["difference"] == pytest.approx(
        difference["gmf-shop/1"] - difference["worst/1"], abs=2e-4
    )
    same = json.loads(command(capsys, "compare", "worst/1", "worst/1", "--json"))
    assert {(row["difference"], row["p"]) for row in same} == {(0.0, 1.0)}


def test_every_users_list_in_one_file(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "top3.parquet"
    model = ("--model", "models:/gmf-shop/1", "-k", "3")
    command(capsys, "recommend", "--all", "--out", str(file), *model)
    lists = pd.read_parquet(file)
    assert lists["user_id"].nunique() == 1200
    one = rows_of(command(capsys, "recommend", "--user", "c7", "--user", "stranger", *model))
    assert [row["known"] for row in one] == ["True"] * 3 + ["False"] * 3
    assert lists[lists["user_id"] == "c7"]["item_id"].tolist() == [
        row["item_id"] for row in one if row["user_id"] == "c7"
    ]
    (answer,) = json.loads(command(capsys, "recommend", "--user", "c7", "--json", *model))
    assert answer["item_ids"] == [row["item_id"] for row in one[:3]]
    similar = rows_of(command(capsys, "similar", "--item", "SKU-4", *model))
    # items of a planted group are those that are equal by 4
    assert [int(row["item_id"].removeprefix("SKU-")) % 4 for row in similar] == [0, 0, 0]


def test_lists_of_some_users_and_of_some_items(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def file_of(name: str, *ids: str) -> str:
        (tmp_path / name).write_text("\ufeff" + "\r\n".join(ids), encoding="utf-8")
        return str(tmp_path / name)

    model = ("--model", "models:/gmf-shop/1")
    one = rows_of(command(capsys, "recommend", "--user", "c7", "--user", "stranger", *model))
    users = file_of("users.txt", "user_id", "c7", "", " stranger ")
    assert rows_of(command(capsys, "recommend", "--users", users, *model)) == one
    only = file_of("only.txt", "SKU-4", "SKU-8", "SKU-12", "lamp")
    exclude = file_of("exclude.txt", "SKU-8", "tent")
    asked = ("recommend", "--users", users, "--only", only, "--exclude", exclude, *model)
    assert main([*asked, "--include-seen", "-k", "1000"]) == 0
    output, errors = capsys.readouterr()
    assert {(row["user_id"], row["item_id"]) for row in rows_of(output)} == {
        (user, item) for user in ("c7", "stranger") for item in ("SKU-4", "SKU-12")
    }
    assert "--only: unknown to the model and passed over: lamp" in errors
    assert "--exclude: unknown to the model and passed over: tent" in errors
    lists = tmp_path / "lists.csv"
    command(capsys, "recommend", "--all", "--out", str(lists), "--only", only, *model)
    assert set(pd.read_csv(lists)["item_id"]) == {"SKU-4", "SKU-8", "SKU-12"}
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for option, name, message in (
        ("--users", "absent", "absent: no such file; check the path"),
        ("--users", "binary", "must be a text with an id on each line"),
        ("--only", file_of("none", "item_id", ""), "no ids are in it; write one on each line"),
        ("--only", file_of("strange", "x", "y"), "`only` names 2 items, and the model knows none"),
    ):
        rest = () if option == "--users" else ("--user", "c7")
        assert message in command(
            capsys, "recommend", option, str(tmp_path / name), *rest, *model, expect=2
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("promote", "gmf-shop/9"), "gmf-shop/9: no such version"),
        (("promote", "absent@champion"), "absent@champion: no such version"),
        (("compare", "gmf-shop/1", "other/1"), "other/1: no such version"),
        (("register", "nonsense"), "nonsense: no such run"),
        (("register", "shop/999"), "shop/999: this store has no run of trial '999' of a study"),
        (("register", "shop/one"), "shop/one: this store has no run of trial 'one' of a study"),
        (
            ("recommend", "--user", "c0", "--model", "gmf-shop"),
            "--model gmf-shop: the name of a model alone says no version; give gmf-shop/VERSION",
        ),
        (("similar", "--item", "SKU-none"), "SKU-none: unknown to the model"),
        (("recommend", "--all"), "--all needs --out"),
        (("recommend", "--all", "--out", "lists.xlsx"), "must end in .parquet or .csv"),
        (("recommend", "--all", "--out", "absent/lists.csv"), "no folder absent"),
        (
            ("recommend", "--user", "c0", "--out", "lists.csv"),
            "--out lists.csv is for the lists of",
        ),
        (("recommend", "--users", "x", "--items", "SKU-4"), "give --user ID, --items ID,ID,... or"),
        (("data", "absent.csv"), "absent.csv: no such file"),
    ],
)
def test_a_mistake_ends_in_one_line(
    client: MlflowClient,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert message in command(capsys, *arguments, expect=2)


def test_only_a_trials_run_has_a_model_to_register(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    study = trials_of(client)[0].data.tags["mlflow.parentRunId"]
    assert "'study shop' has no trial's model" in command(capsys, "register", study, expect=2)


@pytest.mark.parametrize("name", ["it's", "a/b", "", "a:b", "x" * 300])
def test_a_name_that_cannot_be_is_refused_before_anything_is_made(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = {model.name for model in client.search_registered_models()}
    trial = trials_of(client)[0].info.run_id
    error = command(capsys, "register", trial, "--name", name, expect=2)
    assert "a name is letters, digits, '-', '_', '.' and spaces" in error
    assert "give one with --name NAME" in error
    assert {model.name for model in client.search_registered_models()} == before


def test_a_promotion_that_is_broken_off_leaves_no_false_note(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the process ends: a note without the alias would tell of what never was."""
    best, *_, worst = trials_of(client)
    for run in (worst, best):
        command(capsys, "register", run.info.run_id, "--name", "broken off")
    writes = ("set_registered_model_alias", "set_model_version_tag", "delete_model_version_tag")

    def listed() -> dict[str, tuple[str, str]]:
        rows = rows_of(command(capsys, "models"))
        return {row["version"]: (row["alias"], row["champion since"]) for row in rows}

    def break_off(version: str, n_writes: int) -> None:
        """Promotes a version, but ends before the write after so many."""
        done: list[None] = []

        def counted(write: Callable[..., None]) -> Callable[..., None]:
            def call(*arguments: Any) -> None:
                if len(done) == n_writes:
                    raise KeyboardInterrupt
                write(*arguments)
                done.append(None)

            return call

        with monkeypatch.context() as broken:
            for name in writes:
                broken.setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))
            main(["promote", version, "--force"])

    command(capsys, "promote", "broken off/1")
    for version in ("broken off/2", "broken off/1"):
        for n_writes in range(4):
            break_off(version, n_writes)
            state = listed()
            for alias, since in (state["broken off/1"], state["broken off/2"]):
                assert not since or alias == "champion", n_writes
            if alias_of(client, "broken off") == version:
                break
        assert "is the champion already" in command(capsys, "promote", version)
        assert listed()[version][0] == "champion"
        assert "UTC" in listed()[version][1]


def alias_of(client: MlflowClient, name: str) -> str:
    version = champion(client, name)
    return "" if version is None else f"{name}/{version.version}"


def test_printed_commands_name_the_store_and_can_be_pasted(
    client: MlflowClient,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    database = tmp_path / "my störe.db"
    shutil.copy(mlflow.get_tracking_uri().removeprefix("sqlite:///"), database)
    uri = f"sqlite:///{database}"
    trial = trials_of(client)[0].info.run_id
    output = command(capsys, "register", trial, "--name", "two words", "--tracking-uri", uri)
    pasted = shlex.split(output.splitlines()[-1])
    assert pasted[:3] == ["python", "-m", "ncf"]
    assert pasted[3:] == ["promote", "two words/1", "--tracking-uri", uri]
    assert "new champion" in command(capsys, *pasted[3:])
    error = command(capsys, "promote", "nobody/1", "--tracking-uri", uri, expect=2)
    assert f"`python -m ncf models --tracking-uri '{uri}'` lists them" in error
    # what every command finds by itself is not named, and what is secret is not printed
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # which MLflow has set
    error = command(capsys, "promote", "nobody/1", expect=2)
    assert "`python -m ncf models` lists them" in error
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "http://me:secret@host:5000")
    assert next_steps.asking("", "", "models:/m-1") == (
        "python -m ncf recommend --model models:/m-1 --user ID "
        '--tracking-uri "$MLFLOW_TRACKING_URI"'
    )


def test_a_bare_name_is_no_version(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    error = command(capsys, "compare", "gmf-shop", "gmf-shop/1", expect=2)
    assert "gmf-shop is a model, and not a version: give gmf-shop/VERSION, or gmf-shop@ch" in error
    error = command(capsys, "promote", "nobody", expect=2)
    assert "nobody: neither a version, as NAME/3 or NAME@champion, nor a model" in error


def test_who_is_asked_after_a_search_is_who_answers() -> None:
    ((whom, _),) = next_steps.questions("shop", "2", "models:/m-1", "2")
    assert whom == "Ask the model for ten items:"
    (first, of_champion), (second, of_new) = next_steps.questions("shop", "2", "models:/m-1", "1")
    assert first == "Ask the champion, version 1, for ten items:"
    assert "--model models:/shop/1 " in of_champion
    assert second == "Ask version 2, which is not the champion:"
    assert "--model models:/shop/2 " in of_new


def test_two_that_register_a_trial_at_once_make_one_version(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = threading.Barrier(2)
    create = MlflowClient.create_model_version

    def create_slowly(*arguments: Any, **options: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            both.wait(1.0)  # until the other has seen, too, that there is none
        return create(*arguments, **options)

    monkeypatch.setattr(MlflowClient, "create_model_version", create_slowly)
    words = ["register", trials_of(client)[2].info.run_id, "--name", "at-once"]
    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(lambda _: main(words), range(2))] == [0, 0]
    assert capsys.readouterr().out.count("at-once/1: ") == 2
    assert len(client.search_model_versions("name='at-once'")) == 1


def test_users_whom_the_model_does_not_know_are_counted(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "users.txt"
    file.write_text("u1\nu2\n")
    asked = ("recommend", "--users", str(file), "--model", "models:/gmf-shop/1")
    assert main([*asked]) == 0
    told = capsys.readouterr().err
    assert (
        "--users: 2 of 2 users are unknown to the model and get the most popular items: u1, u2;"
        in told
    )
    assert main([*asked, "--out", "top.parquet"]) == 2
    told = capsys.readouterr().err
    assert "--out top.parquet is for the lists of --all; of other users" in told
    assert "recommend ... > top.csv" in told


def test_items_that_the_model_does_not_know_are_named(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("recommend", "--items", "SKU-4,tent, SKU-8,lamp", "-k", "2")
    assert main([*asked, "--model", "models:/gmf-shop/1"]) == 0
    output, errors = capsys.readouterr()
    assert "unknown to the model and passed over: tent, lamp" in errors
    assert len(rows_of(output)) == 2


@pytest.fixture
def moved(searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """The project in a folder of its own, of which the test may delete what it wants."""
    folder = tmp_path / "copy"
    shutil.copytree(searched[0], folder)
    monkeypatch.chdir(folder)
    with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as database, database:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
            ("model_versions", "storage_location"),
        ):
            names = (str(searched[0]), str(folder))
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", names)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlruns/mlflow.db")
    utils._artifact_repos_cache.clear()  # in which MLflow keeps the places of before
    return MlflowClient()


def collect_garbage() -> None:
    uri = mlflow.get_tracking_uri()
    options = ["--backend-store-uri", uri, "--tracking-uri", uri]
    subprocess.run(
        [sys.executable, "-m", "mlflow", "gc", *options], check=True, capture_output=True
    )


@pytest.mark.slow
def test_what_was_deleted_in_mlflow_is_told_in_a_sentence(
    moved: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    trial, other, *_ = trials_of(moved)
    command(capsys, "register", trial.info.run_id, "--name", "gone")
    shared = model_of(moved, other)
    study = trial.data.tags["mlflow.parentRunId"]
    (candidates,) = Path("mlruns", "artifacts").glob(f"**/{study}/artifacts/candidates.npz")
    with np.load(candidates) as loaded:
        forged = dict(loaded) | {"test": loaded["test"] + 2_000_000_000}
    for content, message in (
        (candidates.read_bytes()[:-50], "its study's candidates.npz is damaged"),
        (forged, r"test must be in [0, 160), but is in [2000000000, 20000001"),
    ):
        if isinstance(content, bytes):
            candidates.write_bytes(content)
        else:
            np.savez_compressed(candidates, **content)
        assert message in command(capsys, "compare", "gmf-shop/1", "gone/1", expect=2)
    moved.delete_run(study)
    collect_garbage()
    for arguments, message in (
        (("register", trial.info.run_id), f"the run of its study, {study}, was deleted in MLflow"),
        (("compare", "gmf-shop/1", "gone/1"), "its study has the candidates that both are"),
        (("recommend", "--user", "c7", "--model", f"models:/{shared}"), "take another version"),
    ):
        assert message in command(capsys, *arguments, expect=2)
    assert len(rows_of(command(capsys, "models"))) > 1
    for version in ("gmf-shop/1", "gone/1"):  # each stands alone
        command(capsys, "recommend", "--user", "c7", "--model", f"models:/{version}")
    assert "is the new champion" in command(capsys, "promote", "gone/1")
    (folder,) = Path("mlruns", "artifacts").glob("**/models")
    folder.rename(folder.with_name("elsewhere"))
    error = command(capsys, "recommend", "--user", "c7", expect=2)
    assert "its files, which were at " in error
    assert "are gone; take another version" in error
    folder.with_name("elsewhere").rename(folder)
    while models := moved.search_logged_models([trial.info.experiment_id]):  # a hundred at a time
        for model in models:
            moved.delete_logged_model(model.model_id)
    collect_garbage()
    for arguments in (("recommend", "--user", "c7"), ("similar", "--item", "SKU-4")):
        error = command(capsys, *arguments, expect=2)
        assert "its files, of which MLflow knows no more, are gone; take another" in error
    error = command(capsys, "register", trial.info.run_id, expect=2)  # its model cannot be made
    assert f"the run of its study, {study}, was deleted in MLflow" in error
