"""The commands that look after studies, and the same studies from Python."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

import ncf
from ncf.__main__ import main
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
    assert "number" in rows[0] and "optimizer" not in rows[0]
    assert all(len({row[name] for row in rows}) > 1 for name in rows[0] if name != "state")


def test_a_column_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trials", "--sort-by", "speed"]) == 2
    assert "learning_rate" in capsys.readouterr().err


def test_status_tells_a_concluded_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert f"{N_TRIALS}/{N_TRIALS} trials" in out and "nobody is searching it" in out


def test_stop_says_that_nobody_searches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop", "shop"]) == 0
    assert "nobody is searching it" in capsys.readouterr().out


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
    assert study.verdict and study.verdict[:40] in " ".join(searched[1].split())
    assert study.report is not None and study.report.exists()
    answer = study.load_model().recommend(["c1"], k=3)[0]
    assert answer.known and len(answer.item_ids) == 3
