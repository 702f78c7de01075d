"""The commands that look after studies, and the same studies from Python."""

from __future__ import annotations

import csv
import io
import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import ncf
from ncf.__main__ import main
from ncf.study.storage import lock_study
from tests.conftest import N_TRIALS

pytestmark = pytest.mark.usefixtures("in_folder")


@pytest.fixture
def in_folder(searched: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(searched[0])


def rows_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    assert main(["trials", *arguments]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_trials_come_best_first(capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(capsys)
    assert len(rows) == N_TRIALS
    values = [float(row["value"]) for row in rows if row["state"] == "finished"]
    assert values == sorted(values, reverse=True)
    assert [row["state"] == "finished" for row in rows] == sorted(
        (row["state"] == "finished" for row in rows), reverse=True
    )


def test_trials_are_sorted_and_narrowed_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(capsys, "shop", "--sort-by", "learning_rate", "--only-changed")
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == sorted(rates, reverse=True)
    assert "number" in rows[0]
    assert "optimizer" not in rows[0]
    assert all(len({row[name] for row in rows}) > 1 for name in rows[0] if name != "state")


def test_a_column_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trials", "--sort-by", "speed"]) == 2
    assert "learning_rate" in capsys.readouterr().err


def test_status_tells_a_concluded_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"study shop: \d+/\d+ trials", out)
    assert "nobody is searching it" in out


def test_stop_says_that_nobody_searches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop", "shop"]) == 0
    assert "nobody is searching it" in capsys.readouterr().out


def test_stop_ends_no_process_that_was_given_the_number_of_a_search(
    capsys: pytest.CaptureFixture[str], searched: tuple[Path, str], tmp_path: Path
) -> None:
    folder = searched[0] / "mlruns" / "studies" / "stale"
    folder.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        stale = {"pid": innocent.pid, "host": platform.node(), "began": 0.0}
        note = json.dumps({**stale, "n_trials": 3, "jobs": 1})
        (folder / "search.json").write_text(note, encoding="utf-8")
        lock = lock_study(folder)  # as another search that has just begun
        try:
            assert main(["stop", "stale"]) == 2
        finally:
            lock.release()
            shutil.rmtree(folder)
        assert "just starting" in capsys.readouterr().err
        assert innocent.poll() is None
        innocent.communicate(b"\n")


def test_an_unknown_study_is_told_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "shpo"]) == 2
    assert "it has shop" in capsys.readouterr().err
    with pytest.raises(ValueError, match="it has shop"):
        ncf.load_study("shpo")


def test_a_study_is_read_from_python(searched: tuple[Path, str]) -> None:
    study = ncf.load_study("shop")
    assert len(study.trials) == N_TRIALS
    assert study.results["name"].tolist()[:2] == ["GMF", "popularity"]
    assert f"{study.results['ndcg_10'][0]:.4f}" in searched[1]
    assert study.verdict
    assert study.verdict[:40] in " ".join(searched[1].split())
    assert study.report is not None
    assert study.report.exists()
    answer = study.load_model().recommend(["c1"], k=3)[0]
    assert answer.known
    assert len(answer.item_ids) == 3


SCRIPT = """
import pandas as pd
import ncf
table = pd.read_csv("shop.csv").rename(columns={"customer": "user", "sku": "item"})
table["title"] = "The " + table["item"]
study = ncf.search(table, study="table", trials=3, epochs=2, confirm=1, confirm_seeds=1,
                   columns="user=user,item=item,timestamp=bought", baselines=("popularity",),
                   jobs=2, quiet=True)
print("trials", len(study.trials), "of", study.name, "winner", study.results["name"][0])
lists = study.load_model().table(["c1"], k=2, exclude=["SKU-4"])
assert (lists["title"] == "The " + lists["item_id"]).all()
print(lists["known"].all())
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_searches_a_table(
    searched: tuple[Path, str], tmp_path: Path
) -> None:
    # In a folder of its own: a champion more would answer in the tests that share the store.
    shutil.copy(searched[0] / "shop.csv", tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("trials 3 of table winner") == 1
    assert ended.stdout.endswith("True\n")
    report = (tmp_path / "mlruns/studies/table/report.html").read_text(encoding="utf-8")
    assert "ncf.search(trials=3" in report


def test_a_table_needs_the_name_of_a_study() -> None:
    with pytest.raises(ValueError, match="study='shop'"):
        ncf.search(pd.DataFrame({"user": [1], "item": [2]}))
    with pytest.raises(ValueError, match="got list"):
        ncf.search([1, 2], study="x")  # type: ignore[arg-type]
