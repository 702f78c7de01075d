"""A packaged model stands alone: it answers without this project, and beside it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models.utils import _enforce_params_schema
from mlflow.types import ParamSchema, ParamSpec
from safetensors.numpy import save_file

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import Setting
from ncf.serving.catalogue import Catalogue
from ncf.serving.packaged import load_recommender
from ncf.serving.scorers import Scorer
from ncf.tracking.packaging import DATA_FOLDER, package
from tests.models.test_contract import N_ITEMS, N_USERS, SETTINGS, fitted, history  # noqa: F401
from tests.serving.test_recommender import ITEM_IDS, USER_IDS, catalogue_of, model_of

History = Any


def packaged(
    folder: Path, scorer: Scorer, setting: Setting, catalogue: Catalogue, uri: str | None = None
) -> Path:
    folder.mkdir(exist_ok=True)
    weights = folder / "weights.safetensors"
    save_file({k: np.ascontiguousarray(v) for k, v in scorer.arrays().items()}, weights)
    package(folder / "model", weights, setting, catalogue, uri)
    return folder / "model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return packaged(tmp_path, model_of(), Hyperparameters(), catalogue_of())


def ask(model: Any, user_ids: Any, **params: Any) -> list[dict[str, Any]]:
    frame = model.predict(pd.DataFrame({"user_id": user_ids}), params=params)
    return list(frame.to_dict("records"))


def test_it_answers_beside_this_package_and_changes_nothing_of_it(folder: Path) -> None:
    before = {name: module for name, module in sys.modules.items() if name.startswith("ncf.")}
    model = mlflow.pyfunc.load_model(str(folder))
    expected = [asdict(a) for a in load_recommender(folder / DATA_FOLDER).recommend(["17"], k=4)]
    assert ask(model, ["17"], k=4) == expected
    after = {name: module for name, module in sys.modules.items() if name.startswith("ncf.")}
    assert after == before
    (code,) = (folder / "code").iterdir()
    assert f"{code.name}.packaged" in sys.modules
    import ncf.serving.packaged as ours

    for file in Path(ours.__file__).parent.glob("*.py"):
        assert (code / file.name).read_bytes() == file.read_bytes()


def test_integers_texts_and_a_column_with_gaps_ask_for_the_same(folder: Path) -> None:
    model = mlflow.pyfunc.load_model(str(folder))
    expected = ask(model, ["17"])
    known: tuple[Any, ...] = ([17], np.array([17], np.int32), [17.0], pd.array([17], "Int64"))
    for column in known:
        assert ask(model, column) == expected
    unknown: tuple[Any, ...] = ([3.5], [None], pd.array([None], "Int64"), [np.nan])
    for column in unknown:
        with pytest.raises(MlflowException, match="a user id must be text or an integer"):
            ask(model, column)


def test_params_choose_what_may_be_listed(folder: Path) -> None:
    model = mlflow.pyfunc.load_model(str(folder))
    some = ITEM_IDS[[3, 8, 2]].tolist()
    (answer,) = ask(model, ["nobody"], k=10**6, only=[*some, 1])
    assert sorted(answer["item_ids"]) == sorted(some)
    (answer,) = ask(model, ["3"], k=100, exclude=some, include_seen=True)
    assert set(answer["item_ids"]) == set(ITEM_IDS.tolist()) - set(some)
    for params, message in (
        ({"only": []}, "`only` names 0 items, and the model knows none of them"),
        ({"only": [1, 2]}, "`only` names 2 items, and the model knows none of them"),
        ({"n": 3}, "unknown params: 'n'; known are k, include_seen, only, exclude"),
        ({"only": "50"}, "must be a 1D array"),
    ):
        with pytest.raises(MlflowException, match=message) as refused:
            ask(model, ["3"], **params)
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"  # 400


def test_models_of_others_may_be_given_unknown_params(folder: Path) -> None:
    """MLflow's own rule for them, which this project has no business to change."""
    mlflow.pyfunc.load_model(str(folder))
    schema = ParamSchema([ParamSpec("k", "long", 1)])
    assert _enforce_params_schema({"k": 2, "z": 3}, schema) == {"k": 2}


@pytest.mark.parametrize("level", [logging.WARNING, logging.CRITICAL])
def test_an_unknown_param_is_refused_however_much_mlflow_may_say(
    folder: Path, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    model = mlflow.pyfunc.load_model(str(folder))
    logger = logging.getLogger("mlflow")
    before = logger.level, logger.propagate
    logger.setLevel(level)
    logger.propagate = True
    try:
        with pytest.raises(MlflowException, match="unknown params: 'n'"):
            ask(model, ["3"], n=3)
        assert not caplog.records
        logging.getLogger("mlflow.models.utils").warning("of another kind")
        assert bool(caplog.records) == (level == logging.WARNING)
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]


def test_its_example_is_answered_and_its_requirements_are_few(folder: Path) -> None:
    model = mlflow.pyfunc.load_model(str(folder))
    example, params = model.input_example, model.metadata.load_input_example_params(str(folder))
    answers = ask(model, example["user_id"], **params)
    assert [answer["user_id"] for answer in answers] == [str(user) for user in USER_IDS[:2]]
    assert {len(answer["item_ids"]) for answer in answers} == {params["k"]}
    lines = (folder / "requirements.txt").read_text().split()
    assert [line.split("==")[0] for line in lines] == [
        "mlflow", "numpy", "pandas", "safetensors", "scipy",
    ]  # fmt: skip


def test_what_lies_in_the_folder_one_works_in_is_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow copies what uv has there, from which an environment would then be made."""
    for name in ("uv.lock", "pyproject.toml"):
        (tmp_path / name).write_text("version = 1\n")
    monkeypatch.chdir(tmp_path)
    model = packaged(tmp_path / "x", model_of(), Hyperparameters(), catalogue_of())
    assert not {"uv.lock", "pyproject.toml"} & {path.name for path in model.iterdir()}


def test_reading_a_model_runs_none_of_the_code_beside_it(folder: Path, tmp_path: Path) -> None:
    """Only MLflow's own loader runs it, as its contract is; this project reads the data."""
    trace = tmp_path / "trace"
    for file in (folder / "code").rglob("*.py"):
        file.write_text(f"open({str(trace)!r}, 'w')\n")
    assert load_recommender(folder / DATA_FOLDER).recommend(["17"])
    assert not trace.exists()


# Blocks what a registered model must do without; then answers from each model of the folder.
ELSEWHERE = """
import importlib.abc, json, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ncf", "numba", "torch", "optuna", "implicit", "sklearn"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import mlflow, pandas as pd
from pathlib import Path
for folder in sorted(Path(sys.argv[1]).iterdir()):
    model = mlflow.pyfunc.load_model(str(folder / "model"))
    users = pd.DataFrame({"user_id": [*range(40), 1000]})
    answers = model.predict(users, params={"k": 30})
    print(json.dumps([folder.name, answers.to_dict("records")]))
"""


@pytest.mark.slow
def test_every_kind_answers_elsewhere_as_it_does_here(
    history: History,  # noqa: F811
    tmp_path: Path,
) -> None:
    items = np.array([f"i{n:02}" for n in range(N_ITEMS)])
    expected = {}
    for name, setting in SETTINGS.items():
        catalogue = Catalogue(np.arange(N_USERS), items, None, history.indptr, history.items)
        scorer = fitted(history, setting)
        (tmp_path / "models").mkdir(exist_ok=True)
        folder = packaged(tmp_path / "models" / name, scorer, setting, catalogue)
        ours = load_recommender(folder / DATA_FOLDER)
        answers = ours.recommend([*range(N_USERS), 1000], k=30)
        expected[name] = [asdict(answer) for answer in answers]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "models").rename(elsewhere / "models")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(elsewhere / "models")],
        cwd=elsewhere, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert dict(map(json.loads, result.stdout.splitlines())) == expected
