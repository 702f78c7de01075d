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
from ncf.commands import stop
from ncf.commands.command_line import parse
from ncf.commands.search import run
from ncf.study.storage import lock_record, lock_study
from tests.conftest import COMMON, N_TRIALS

pytestmark = pytest.mark.usefixtures("in_folder")
SEARCH = Path(__file__).parents[2] / "search.py"


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
    capsys: pytest.CaptureFixture[str],
    searched: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stop, "START_SECONDS", 0.0)
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


def test_clean_leaves_the_files_of_a_store_that_was_copied(
    searched: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(searched[0], tmp_path / "copy")
    files = sorted(searched[0].rglob("*"))
    monkeypatch.chdir(tmp_path / "copy")
    for option in (["--with-versions"], ["--keep-models", "0"]):
        assert main(["clean", "shop", "--yes", *option]) == 2
        assert "nothing was deleted" in capsys.readouterr().err
    assert sorted(searched[0].rglob("*")) == files


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


def test_two_trials_stand_side_by_side_with_a_paired_interval(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["trials", "shop", "0", "1", "--json"]) == 0
    said = capsys.readouterr()
    rows = {row["metric"]: row for row in json.loads(said.out)}
    trials = ncf.load_study("shop").trials.set_index("number")
    ndcg = rows["nDCG@10"]
    assert ndcg["trial 0"] == pytest.approx(trials["ndcg_10"][0], abs=1e-4)
    assert ndcg["trial 1"] == pytest.approx(trials["ndcg_10"][1], abs=1e-4)
    assert ndcg["difference"] == pytest.approx(ndcg["trial 0"] - ndcg["trial 1"], abs=2e-4)
    assert ndcg["low"] <= ndcg["difference"] <= ndcg["high"]
    assert rows["learning_rate"]["trial 0"] != rows["learning_rate"]["trial 1"]
    assert "optimizer" not in rows  # the same in both
    assert "On validation" in said.err


def test_two_trials_are_named_by_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    for words, complaint in (
        (["0"], "no trial or the numbers of two"),
        (["shop", "0", "99"], "no trial 99"),
        (["shop", "other"], "give one study"),
    ):
        assert main(["trials", *words]) == 2
        assert complaint in capsys.readouterr().err


def test_a_search_that_is_starting_has_a_status(
    capsys: pytest.CaptureFixture[str], searched: tuple[Path, str]
) -> None:
    folder = searched[0] / "mlruns" / "studies" / "new"
    folder.mkdir()
    lock = lock_study(folder)
    try:
        assert main(["status"]) == 0
    finally:
        lock.release()
        shutil.rmtree(folder)
    assert capsys.readouterr().out.startswith("study new: its search is starting")


def test_clean_lists_studies_with_what_they_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", "--json"]) == 0
    shown = capsys.readouterr()
    assert "record mlruns/optuna.journal, MLflow store sqlite:///" in shown.err
    (row,) = (row for row in json.loads(shown.out) if row["study"] == "shop")
    assert row["trials"] == N_TRIALS
    assert row["models"] > N_TRIALS / 2
    assert row["MB"] > 1
    assert "gmf-shop/1" in row["versions"]


def test_clean_asks_and_refuses_what_is_registered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", "shop", "--yes"]) == 2
    assert "--with-versions" in capsys.readouterr().err
    assert main(["clean", "shop", "--with-versions"]) == 2  # there is no terminal to ask on
    assert "nothing was deleted" in capsys.readouterr().err
    assert main(["clean", "--yes"]) == 2
    assert len(ncf.load_study("shop").trials) == N_TRIALS


def test_a_study_that_is_being_searched_is_not_cleaned(
    capsys: pytest.CaptureFixture[str], searched: tuple[Path, str]
) -> None:
    lock = lock_study(searched[0] / "mlruns" / "studies" / "shop")
    try:
        assert main(["clean", "shop", "--with-versions", "--yes"]) == 2
    finally:
        lock.release()
    assert "being searched" in capsys.readouterr().err


def test_another_folder_may_not_search_the_same_journal_meanwhile(
    capsys: pytest.CaptureFixture[str], searched: tuple[Path, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copy(searched[0] / "shop.csv", tmp_path)
    journal = str(searched[0] / "mlruns" / "optuna.journal")
    lock = lock_record(journal, "shop")  # as a search that runs in another folder
    try:
        assert main(["status", "shop"]) == 0
        assert "being searched from another folder" in capsys.readouterr().out
        assert main(["clean", "shop", "--with-versions", "--yes"]) == 2
        assert "being searched by another process" in capsys.readouterr().err
        monkeypatch.chdir(tmp_path)
        assert run(parse([*COMMON, "--trials", str(N_TRIALS), "--storage", journal])) == 2
        assert "being searched by another process" in capsys.readouterr().err
    finally:
        lock.release()


@pytest.mark.slow
def test_a_study_is_cleaned_in_the_record_in_mlflow_and_on_the_disk(
    capsys: pytest.CaptureFixture[str], searched: tuple[Path, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copy(searched[0] / "shop.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    search = [sys.executable, str(SEARCH), "--data", "shop.csv", "--epochs", "2", "--confirm", "1",
              "--columns", "user=customer,item=sku,timestamp=bought", "--confirm-seeds", "1",
              "--baselines", "popularity", "--study", "gone", "--trials", "4"]  # fmt: skip
    subprocess.run(search, check=True, capture_output=True)
    files = {path.parent.parent for path in Path("mlruns/artifacts").rglob("MLmodel")}
    assert main(["clean", "gone", "--keep-models", "1", "--yes"]) == 0
    assert "3 models deleted" in capsys.readouterr().out
    left = {path.parent.parent for path in Path("mlruns/artifacts").rglob("MLmodel")}
    assert len(left) == len(files) - 3
    best, second = ncf.load_study("gone").trials.sort_values("value", ascending=False)["number"][:2]
    assert main(["trials", str(best), str(second)]) == 0
    told = capsys.readouterr().err
    assert f"the model of trial {second} was deleted by `python -m ncf clean`; `python -m" in told
    assert "ncf register " in told
    subprocess.run([*search[:-1], "5"], check=True, capture_output=True)  # it goes on

    assert main(["clean", "gone", "--with-versions", "--yes"]) == 0
    assert not list(Path("mlruns/artifacts").rglob("*.npz"))
    assert not list(Path("mlruns/artifacts").rglob("MLmodel"))
    assert not Path("mlruns/studies/gone").exists()
    with pytest.raises(ValueError, match="it has none yet"):
        ncf.load_study("gone")
    capsys.readouterr()
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    subprocess.run(search, check=True, capture_output=True)  # of the same name, from the beginning
    assert len(ncf.load_study("gone").trials) == 4
    assert main(["check"]) == 0
