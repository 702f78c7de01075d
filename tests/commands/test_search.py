"""The main job through the real command: a person's own CSV in, a registered recommender out."""

from __future__ import annotations

import gzip
import json
import logging
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from ncf.__main__ import main as ask
from ncf.commands.command_line import parse
from ncf.commands.ending import End
from ncf.commands.repeat import repeat
from ncf.commands.search import lag_of, run
from ncf.protocol.metrics import summarize
from ncf.tracking import registry
from ncf.tracking.entities import rounded
from ncf.tracking.tracker import Tracker
from tests.conftest import COMMON, N_TRIALS, PROJECT
from tests.studies import runs_of, study_of


@pytest.fixture
def client(searched: tuple[Path, str]) -> MlflowClient:
    mlflow.set_tracking_uri(f"sqlite:///{searched[0]}/mlruns/mlflow.db")
    return MlflowClient()


def test_it_prints_the_trials_the_winner_and_what_to_do_next(searched: tuple[Path, str]) -> None:
    _, output = searched
    for part in (
        "Best trials",
        "Winner: ",
        "Test, read once",
        "with p after Holm's correction, GMF",
        "Registered: gmf-shop version 1",
        "python -m ncf ui",
        "compareRunsMode=CHART",
        "python -m ncf recommend",
    ):
        assert part in output


def test_every_trial_is_a_child_run_with_metrics_by_epoch(
    searched: tuple[Path, str], client: MlflowClient
) -> None:
    study = study_of(searched[0])
    parent, trials = runs_of(client)
    assert sorted(trials) == list(range(N_TRIALS))
    assert parent.info.status == "FINISHED"
    for trial in study.get_trials():
        run = trials[trial.number]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == "FINISHED"  # the UI shows "KILLED" as an error
        state = {"COMPLETE": "finished", "PRUNED": "pruned"}[trial.state.name]
        assert run.data.tags["ncf.state"] == state
        assert {k: run.data.params[k] for k in trial.params} == {
            k: str(v) for k, v in trial.params.items()
        }
        for name in ("train/loss", "train/samples_per_second", "validation/ndcg_10"):
            history = client.get_metric_history(run.info.run_id, name)
            assert [metric.step for metric in history] == list(trial.intermediate_values)
        logged = [m.value for m in client.get_metric_history(run.info.run_id, "validation/ndcg_10")]
        assert logged == list(trial.intermediate_values.values())
        assert run.data.metrics["validation_best/ndcg_10"] == round(max(logged), 6)
        assert run.inputs is not None
        assert run.inputs.dataset_inputs[0].dataset.name == "shop"
    versions = {key for key in parent.data.tags if key.startswith("version.")}
    assert {"version.torch", "version.ncf-search"} <= versions
    assert parent.data.tags["mlflow.source.git.commit"]


def test_a_trials_model_loads_again_and_scores_what_was_logged(
    searched: tuple[Path, str], client: MlflowClient, tmp_path: Path
) -> None:
    parent, trials = runs_of(client)
    candidates = Path(
        client.download_artifacts(parent.info.run_id, "candidates.npz", str(tmp_path))
    )
    with np.load(candidates) as arrays:
        validation = arrays["validation"]
    number, run = next(iter(trials.items()))
    (model,) = client.search_logged_models([run.info.experiment_id], f"name = 'trial-{number:04d}'")
    assert {metric.key: metric.value for metric in model.metrics or []}[
        "validation_best/ndcg_10"
    ] == (run.data.metrics["validation_best/ndcg_10"])
    _, recommender = registry.load(f"models:/{model.model_id}", mlflow.get_tracking_uri())
    every = recommender.scorer.score_all(np.arange(recommender.catalogue.n_users))
    scores = np.take_along_axis(every, validation, axis=1)
    is_real = validation >= 0  # small catalogues leave padding
    ranks = ((scores >= scores[:, :1]) & is_real).sum(axis=1).astype(np.int32)
    for name, value in summarize(ranks, 10).items():
        assert run.data.metrics[f"validation_best/{name}"] == pytest.approx(value, abs=1e-3)


def test_the_best_are_confirmed_and_held_against_baselines(
    searched: tuple[Path, str], client: MlflowClient, tmp_path: Path
) -> None:
    _, output = searched
    parent, _ = runs_of(client)
    experiment_id = parent.info.experiment_id
    runs = client.search_runs(
        [experiment_id], "tags.`mlflow.ncf.key` != '' and tags.`ncf.study` = 'shop'"
    )
    keys = Counter(run.data.tags["mlflow.ncf.key"].split("-")[0] for run in runs)
    assert keys == {"study": 1, "trial": N_TRIALS, "confirmation": 9, "baseline": 7}
    means = {
        int(run.data.tags["ncf.trial"]): run.data.metrics["confirmed/mean"]
        for run in runs
        if "confirmed/mean" in run.data.metrics and "ncf.trial" in run.data.tags
    }
    assert len(means) == 3
    assert f"Winner: GMF (trial {max(means, key=lambda number: means[number])}, " in output
    ranks_file = client.download_artifacts(parent.info.run_id, "test_ranks.npz", str(tmp_path))
    with np.load(ranks_file) as ranks:
        for run in runs:
            kind, _, name = run.data.tags["mlflow.ncf.key"].partition("-")
            if kind == "baseline":
                logged = {name: run.data.metrics[f"test/{name}"] for name in ("ndcg_10", "mrr_10")}
                assert logged.items() <= rounded(summarize(ranks[f"{name}_sampled"], 10)).items()
        of_winner = summarize(ranks["GMF_sampled"], 10)
    assert parent.data.metrics["test/ndcg_10"] == round(of_winner["ndcg_10"], 6)
    value, low, high = map(float, re.findall(r"[\d.]+", parent.data.tags["test_ndcg_10"]))
    assert low < value == round(of_winner["ndcg_10"], 4) < high
    (version,) = client.search_model_versions(f"run_id = '{parent.info.run_id}'")
    (winner,) = (run for run in runs if "winner" in run.data.tags)
    assert int(winner.data.tags["ncf.trial"]) == max(means, key=lambda number: means[number])
    assert winner.data.tags["winner"] == f"gmf-shop/{version.version}"
    assert winner.data.tags["mlflow.note.content"].startswith("**Winner of study shop**")
    # validation nDCG@10 is one number wherever the winner's stands
    on_page, on_version = parent.data.metrics["best/ndcg_10"], version.tags["validation_ndcg_10"]
    assert on_page == float(on_version) == winner.data.metrics["confirmed/mean"]
    assert "validation_best/ndcg_10" not in parent.data.metrics
    named = client.get_experiment(experiment_id).tags
    (view,) = (named[name] for name in named if name.startswith("mlflow.sharedViewState."))
    state = json.loads(json.loads(view)["state"])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`rank`", True)
    shown = client.search_runs(
        [experiment_id], state["searchFilter"], order_by=[f"{state['orderByKey']} ASC"]
    )
    assert shown[0].info.run_id == winner.info.run_id
    assert [run.data.metrics.get("rank") for run in shown] == [*range(1, len(shown) + 1)]
    ranked = [run.data.metrics for run in shown[1:]]
    values = [metrics.get("confirmed/mean", metrics["best/ndcg_10"]) for metrics in ranked]
    assert values == sorted(values, reverse=True)
    assert Counter("ncf.trial" in run.data.tags for run in shown) == {True: N_TRIALS, False: 7}


def test_the_same_command_again_has_nothing_to_do(
    searched: tuple[Path, str],
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, output = searched
    before = len(client.search_model_versions("name='gmf-shop'"))
    monkeypatch.chdir(folder)
    assert run(parse([*COMMON, "--trials", str(N_TRIALS)])) == 0
    again = capsys.readouterr().out
    assert "no trial is left to train" in again
    first, second = (text[text.index("Winner") :] for text in (output, again))
    told = "Registered before: gmf-shop version 1; version 1 is the champion\n"
    assert told in second
    made = "Registered: gmf-shop version 1; version 1 is the new champion\n"
    assert first == second.replace(told, made)
    assert len(client.search_model_versions("name='gmf-shop'")) == before == 1


def test_fewer_baselines_do_not_take_out_of_the_contest_what_was_in_it(
    searched: tuple[Path, str],
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Else a weaker winner would be registered, and test would be read again."""
    folder, output = searched
    monkeypatch.chdir(folder)
    fewer = ["--trials", str(N_TRIALS), "--baselines", "markov"]
    assert run(parse([*COMMON, *fewer])) == 0
    again = capsys.readouterr().out
    assert "Still in this study's contest, though not asked for: popularity" in again
    results = output[output.index("Winner") : output.index("Registered")]
    assert again[again.index("Winner") :].startswith(results)
    assert len(client.search_model_versions("name='gmf-shop'")) == 1
    assert len(study_of(folder).user_attrs["test_readings"]) == 1


def test_a_new_study_takes_nothing_that_another_of_its_name_has_left(
    searched: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a search that was killed, and whose record was deleted to begin again."""
    monkeypatch.chdir(tmp_path)
    left = tmp_path / "mlruns" / "studies" / "again"
    left.mkdir(parents=True)
    for number in range(2):  # a model by another seed, which a mixture would be of
        (left / f"beside-{number}-0.safetensors").write_text("of another")
    (left / "trial-0099.safetensors").write_text("of another")
    data = ["--data", str(searched[0] / "shop.csv"), *COMMON[2:], "--study", "again"]
    few = ["--trials", "2", "--confirm", "0", "--baselines", "mixture", "--quiet"]
    assert run(parse([*data, *few])) == 0
    results = study_of(tmp_path, "again").user_attrs["conclusion"]["results"]
    assert {result["name"] for result in results} == {"GMF", "mixture"}
    assert not [*left.glob("*.safetensors")]


@pytest.mark.slow
def test_what_mlflow_lacks_is_written_by_the_same_command(
    searched: tuple[Path, str],
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, output = searched
    monkeypatch.chdir(folder)
    uri = f"sqlite:///{folder}/other.db"  # a store that has nothing, and then fails in the end
    options = parse([*COMMON, "--trials", str(N_TRIALS), "--tracking-uri", uri])
    parent, trials = runs_of(client)

    def fail(*_: object) -> None:
        raise ConnectionError("it is down")

    with monkeypatch.context() as broken:
        broken.setattr(Tracker, "log_result", fail)
        broken.setattr("ncf.commands.study.FINISHED", End("finished", patience=2.0))
        threads = {*threading.enumerate()}
        assert run(options) == 1
        for thread in {*threading.enumerate()} - threads:
            if thread.name == "mlflow":  # which ends with its process, and so has to end here
                thread.join(60)
    shown = capsys.readouterr().out
    results = output[output.index("Winner") : output.index("Registered")]
    assert results in shown
    assert "MLflow does not have everything yet: results on test" in shown
    assert ": it is down" in shown
    assert "the same command writes what is missing" in shown
    assert run(options) == 0
    shown = capsys.readouterr().out
    assert results in shown
    assert "Registered: gmf-shop version 1; version 1 is the new champion" in shown

    other_parent, others = runs_of(MlflowClient(uri))
    assert sorted(others) == sorted(trials)
    for number, run_ in trials.items():
        assert others[number].data.metrics == run_.data.metrics
        assert others[number].data.params == run_.data.params
    assert other_parent.data.metrics == parent.data.metrics


@pytest.mark.slow
def test_the_real_command_searches_from_its_start_to_its_end(searched: tuple[Path, str]) -> None:
    few = ("--trials", "2", "--jobs", "1", "--confirm", "0", "--baselines", "none")
    result = subprocess.run(
        [
            sys.executable,
            PROJECT / "search.py",
            *COMMON,
            *few,
            "--study",
            "small",
            "--register",
            "small",
        ],
        cwd=searched[0],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for part in ("Best trials", "Winner: ", "Test, read once", "Registered: small version 1"):
        assert part in result.stdout
    assert "|" not in result.stderr  # no bar: it is not a terminal
    assert "Traceback" not in result.stderr


def test_other_settings_are_refused_by_name(
    searched: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(searched[0])
    assert run(parse([*COMMON, "--trials", "20", "--seed", "1"])) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "seed was 0, now 1" in error


def test_a_study_keeps_the_lag_that_it_was_begun_with(
    searched: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(searched[0])
    assert run(parse([*COMMON, "--trials", "20", "--lag", "9"])) == 2  # the last of two counts
    assert "lag was 8, now 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "recorded", "lag", "is_told", "is_warned"),
    [
        ("--jobs 2 --trials 20", None, 8, False, False),
        ("--jobs 4", None, 8, False, False),
        ("--jobs 12 --trials 72", None, 24, True, False),
        ("--jobs 12 --trials 71", None, 24, True, True),
        ("--jobs 2 --lag 32 --trials 50", None, 32, False, True),
        ("--jobs 2 --lag 4", None, 4, False, False),
        ("--jobs 12", 8, 8, False, False),
        ("--jobs 12 --lag 9", 8, 9, False, False),  # which the record then refuses
    ],
)
def test_a_new_study_has_a_lag_for_its_jobs_and_an_old_one_its_own(
    asked: str,
    recorded: int | None,
    lag: int,
    is_told: bool,
    is_warned: bool,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.WARNING, "ncf"):
        options = parse(asked.split())
        assert lag_of(options, recorded, options.jobs or 1) == lag
    assert (f"give --lag {lag}" in capsys.readouterr().out) == is_told
    assert (f"the first {lag + 9} are random" in caplog.text) == is_warned


def test_a_trial_is_repeated_from_its_run_alone(
    searched: tuple[Path, str],
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = searched
    monkeypatch.chdir(folder)
    _, trials = runs_of(client)
    run_id = trials[3].info.run_id
    logged = trials[3].data.metrics["validation_best/ndcg_10"]
    assert repeat(run_id, None) == 0
    assert "came out equal, bit for bit" in capsys.readouterr().out
    client.log_metric(run_id, "validation_best/ndcg_10", 0.123, step=99)
    assert repeat(run_id, None) == 1
    assert "logged 0.123" in capsys.readouterr().out
    client.log_metric(run_id, "validation_best/ndcg_10", logged, step=100)  # as it was
    data = (folder / "shop.csv").read_text()
    (folder / "shop.csv").write_text(data + "c0,SKU-new,99\n")
    with pytest.raises(ValueError, match="the data have changed: their fingerprint was"):
        repeat(run_id, None)
    (folder / "shop.csv").write_text(data)
    with pytest.raises(ValueError, match="no run of a trial"):
        repeat("nonsense", None)


def test_the_study_has_a_report_and_a_description(
    searched: tuple[Path, str], client: MlflowClient, tmp_path: Path
) -> None:
    parent, _ = runs_of(client)
    page = Path(client.download_artifacts(parent.info.run_id, "report.html", str(tmp_path)))
    assert "Learning curves" in page.read_text(encoding="utf-8")
    assert "| GMF |" in parent.data.tags["mlflow.note.content"]
    assert "with p after Holm's correction, GMF" in parent.data.tags["mlflow.note.content"]
    assert parent.data.tags["ncf.test_readings"].endswith(": the study's end")


def test_the_registered_model_answers_with_own_ids(
    searched: tuple[Path, str], client: MlflowClient
) -> None:
    version = client.get_model_version_by_alias("gmf-shop", "champion")
    assert str(version.version) == "1"
    assert {"fingerprint", "study", "validation_ndcg_10", "test_ndcg_10"} <= set(version.tags)
    model = mlflow.pyfunc.load_model("models:/gmf-shop@champion")
    answer = model.predict(pd.DataFrame({"user_id": ["c0", "stranger"]}), params={"k": 3})
    assert answer["known"].tolist() == [True, False]
    bought = set(pd.read_csv(searched[0] / "shop.csv").query("customer == 'c0'")["sku"])
    assert len(answer["item_ids"][0]) == 3
    assert not bought & set(answer["item_ids"][0])


def test_the_recommend_command_prints_a_list(
    searched: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(searched[0])
    assert ask(["recommend", "--user", "c0", "-k", "2"]) == 0
    assert capsys.readouterr().out.count("SKU-") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "absent.csv"), "absent.csv"),
        (("--data", "mlruns"), "mlruns: a folder of"),
        (("--data", "torn.csv.gz"), "torn.csv.gz: damaged, cut short or locked"),
        (("--data", "few.csv"), "needs a user with at least 3 distinct items"),
        (("--columns", "user=nobody"), "nobody"),
        (("--columns", "colour=red"), "--columns colour=red"),
        (("--columns", "user=sku,item=sku"), "each name and column once"),
        (("--columns", "user=sku,user=customer"), "each name and column once"),
        (("--trials", "0"), "--trials must be positive"),
        (("--timeout", "nan"), "--timeout must be positive"),
        (("--epochs", "0"), "`epochs >= 1` must hold"),
        (("--k", "101"), "--k 101"),
        (("--seed", "-1"), "--seed must not be negative"),
        (("--confirm-seeds", "0"), "--confirm-seeds"),
        (("--min-rating", "3"), "needs a rating column"),
        (("--study", "../outside"), "--study"),
        (("--register", "a/b"), "--register 'a/b'"),
        (("--titles", "absent.csv"), "--titles absent.csv: no such file"),
        (("--titles", "shop.csv"), "needs a column for the item and one for its title"),
        (("--storage", "shop.csv"), "not an Optuna journal"),
        (("--storage", "nonsense://me:secret@host"), "--storage nonsense://***@host: cannot be op"),
        (("--tracking-uri", "nonsense://me:secret@host"), "--tracking-uri nonsense://***@host: no"),
        (("--repeat", "nonsense"), "no run of a trial"),
        (("--repeat", "x", "--tracking-uri", "sqlite:///absent.db"), "absent.db: no such MLflow"),
        (("--device", "cuda"), "--device cuda"),
        (("--experiment", "absent.py"), "absent.py"),
        (("--experiment", "syntax.py"), "syntax.py, line 3: SyntaxError"),
        (("--experiment", "raises.py"), "raises.py, line 4: ZeroDivisionError"),
        (("--experiment", "nothing.py"), "must define `experiment = Experiment(...)`"),
        (("--experiment", "missing.py"), "missing.py, line 3: TypeError: Hyperparameters"),
        (("--experiment", "narrow.py"), "the search space must be able to make the defaults"),
        (("--experiment", "beyond.py"), "beyond.py, line 3: ValueError: `0 < learning_rate < inf`"),
    ],
)
@pytest.mark.filterwarnings("ignore:Fixed parameter")
def test_a_mistake_ends_in_one_line_and_leaves_nothing(
    searched: tuple[Path, str],
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = searched
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it, too
    (folder / "torn.csv.gz").write_bytes(gzip.compress(b"customer,sku,bought\n" * 99)[:40])
    (folder / "few.csv").write_text("customer,sku,bought\na,x,1\nb,y,2\n")
    (folder / "nothing.py").write_text("")
    for name, line in (
        ("syntax", "return = 1"),
        ("raises", "return Hyperparameters()\n1 / 0"),
        ("missing", 'return Hyperparameters(lr=trial.suggest_float("lr", 0, 1))'),
        ("narrow", 'return Hyperparameters(n_negatives=trial.suggest_int("n_negatives", 9, 10))'),
        (
            "beyond",
            'return Hyperparameters(learning_rate=trial.suggest_float("learning_rate", -1, 1))',
        ),
    ):
        (folder / f"{name}.py").write_text(SPACE.format(line))
    before = files_of(folder)
    assert run(parse([*COMMON, *options])) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert files_of(folder) == before


SPACE = """from ncf.experiment import Experiment, Hyperparameters
def space(trial):
    {}
experiment = Experiment("shop", "shop.csv", Hyperparameters(), space)
"""


def files_of(folder: Path) -> dict[str, int]:
    """Returns the sizes of all files but locks and those that note each visit."""
    sizes = {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    visited = ("optuna.journal", "optuna.journal.backup", "mlflow.db-shm", "mlflow.db-wal")
    return {path: n for path, n in sizes.items() if n > 0 and not path.endswith(visited)}


def test_asking_in_vain_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for options, message in (
        ((), "mlflow.db: no such MLflow store; run search.py here"),
        (("--tracking-uri", "nonsense://me:secret@host"), "nonsense://***@host: no MLflow store"),
    ):
        assert ask(["recommend", "--user", "7", *options]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_there(
    searched: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(searched[0])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for model in ("models:/nobody/1", "models:/gmf-shop/99", "models:/gmf-shop@nobody", "shop.csv"):
        assert ask(["recommend", "--user", "c0", "--model", model]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: --model {model}: ")
        assert error.count("\n") == 1
