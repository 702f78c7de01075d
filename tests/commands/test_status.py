"""`status` and `stop` in a folder in which nothing has been searched to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncf.__main__ import main
from ncf.commands import studies
from ncf.study.storage import lock_study


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
