"""Which trials' models MLflow is given, and how one that it was not given is made again."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState, create_trial

from ncf.__main__ import main as ask
from ncf.commands.command_line import parse
from ncf.commands.search import run
from ncf.tracking.kept import Kept
from tests.conftest import COMMON, planted, write_interactions
from tests.studies import runs_of


def ended(number: int, value: float | None) -> optuna.trial.FrozenTrial:
    state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    trial = create_trial(state=state, value=value)
    trial.number = number
    return trial


def test_the_best_so_far_are_kept_and_of_equal_ones_the_earlier() -> None:
    kept = Kept(2, 200)
    for number, value in enumerate([0.1, 0.3, None, 0.2, 0.3, 0.3]):
        kept.note(ended(number, value))
        assert not kept.has(2)
    assert [number for number in range(6) if kept.has(number)] == [1, 4]


def test_a_small_study_keeps_all_and_a_big_one_ten() -> None:
    for asked, n_trials, n_kept in ((None, 100, 50), (None, 101, 10), (0, 50, 0), (50, 50, 50)):
        kept = Kept(asked, n_trials)
        for number in range(50):
            kept.note(ended(number, number / 100 if number % 2 else None))
        assert sum(map(kept.has, range(50))) == n_kept


@pytest.mark.slow
def test_a_model_that_was_not_kept_is_made_again_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_interactions(planted(n_users=300, n_items=80, seed=0), Path("shop.csv"))
    for study, options in (("all", ()), ("few", ("--keep-models", "1"))):
        line = [*COMMON, "--study", study, "--trials", "5", "--jobs", "1", *options]
        line += ["--confirm", "0", "--baselines", "none", "--no-register"]
        with contextlib.redirect_stdout(io.StringIO()):
            assert run(parse(line)) == 0
    client = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    all_weights, few = weights_of(client, "all"), weights_of(client, "few")
    assert sorted(all_weights) == [*range(5)]
    assert 0 in few  # the first is the best of the first
    assert len(few) < 5
    _, runs = runs_of(client, "few")
    missing = next(number for number in runs if number not in few)
    run_id = runs[missing].info.run_id
    assert "MLflow has no model of it, since it was not among" in note_of(client, run_id)
    capsys.readouterr()
    assert ask(["register", run_id]) == 0
    assert "MLflow has no model of it; it is trained again" in capsys.readouterr().err
    assert weights_of(client, "few")[missing] == all_weights[missing]
    assert "MLflow has no model" not in note_of(client, run_id)
    history = client.get_metric_history(run_id, "validation_best/ndcg_10")
    assert len(history) == 1
    (model,) = client.search_logged_models(
        [runs[missing].info.experiment_id], f"source_run_id = '{run_id}'"
    )
    metrics = {metric.key: metric.value for metric in model.metrics or []}
    assert metrics["validation_best/ndcg_10"] == history[0].value
    assert ask(["register", run_id]) == 0  # once
    assert "trained again" not in capsys.readouterr().err
    assert ask(["recommend", "--user", "c7", "--model", "models:/gmf-shop/1"]) == 0


def note_of(client: MlflowClient, run_id: str) -> str:
    return str(client.get_run(run_id).data.tags["mlflow.note.content"])


def weights_of(client: MlflowClient, study: str) -> dict[int, Any]:
    """Returns the bytes of the weights of each trial whose model MLflow has."""
    mlflow.set_tracking_uri(client.tracking_uri)
    _, runs = runs_of(client, study)
    found = {}
    for number, one in runs.items():
        query = f"source_run_id = '{one.info.run_id}'"
        for model in client.search_logged_models([one.info.experiment_id], query):
            folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
            (weights,) = folder.rglob("*.safetensors")
            found[number] = weights.read_bytes()
    return found
