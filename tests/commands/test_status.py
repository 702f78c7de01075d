"""`status` and `stop` in a folder in which nothing has been searched to its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from ncf.__main__ import main
from ncf.commands import stop
from ncf.study.lease import held
from ncf.study.presence import Search
from ncf.study.storage import lock_study, open_storage


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the study `shop`, in which its first search has noted nothing yet."""
    monkeypatch.chdir(tmp_path)
    folder = Path("mlruns/studies/shop")
    folder.mkdir(parents=True)
    return folder


def test_the_first_search_of_a_study_is_not_denied_while_it_starts(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "START_SECONDS", 0.0)
    lock = lock_study(folder)
    try:
        assert main(["stop", "shop"]) == 2
        assert "shop: its search is just starting; give the" in capsys.readouterr().err
    finally:
        lock.release()
    assert main(["stop", "shop"]) == 0
    assert "study shop: nobody is searching it" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_the_record_of_a_baseline_has_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    storage = open_storage("mlruns/optuna.journal")
    optuna.create_study(storage=storage, study_name="shop/ease", direction="maximize")
    assert main(["status", "shop/ease"]) == 0
    assert "study shop/ease: 0 trials; 0 finished" in capsys.readouterr().out


def test_a_search_of_another_folder_is_found_by_its_database(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is the record, of whose only study no name need be given."""
    url = f"sqlite:///{tmp_path}/studies.db"
    folder.rmdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        search = replace(Search.of_this_process(n_trials=5, jobs=2), pid=other.pid)
        search = replace(search, began=search.began + 1)
        with suppress(RuntimeError), held(open_storage(url), "shop", search):
            assert main(["status", "--storage", url]) == 0
            assert f"being searched by process {other.pid} on" in capsys.readouterr().out
            assert main(["stop", "shop"]) == 0
            out = capsys.readouterr().out
            assert out == "study shop: nobody is searching it from this folder\n"
            assert main(["stop", "--storage", url]) == 0
            out = capsys.readouterr().out
            assert out.endswith("study shop: stopped; the same command goes on with it\n")
    assert other.returncode == -signal.SIGTERM
    optuna.create_study(storage=open_storage(url), study_name="second", direction="maximize")
    assert main(["status", "--storage", url]) == 2
    assert f"{url}: name a study; it has shop, second" in capsys.readouterr().err
