"""`status` and `stop` in a folder in which nothing has been searched to its end."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from ncf.__main__ import main
from ncf.commands import studies
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
    monkeypatch.setattr(studies, "START_SECONDS", 0.0)
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
