"""Numba's cache folder, where an installation is read-only and its user has no home."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from ncf.serving.compiled_cache import advice, choose


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that nobody can write, which is that of the user's cache; the temporary one can."""
    file = tmp_path / "file"
    file.touch()  # below it nothing can be made, not even by root
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # so that what is set is taken back
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    return file / "ncf"


def test_it_is_numbas_own_where_that_can_be_written(nowhere: Path, tmp_path: Path) -> None:
    choose(tmp_path / "ncf")
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_it_is_a_temporary_folder_of_this_user_alone(nowhere: Path, tmp_path: Path) -> None:
    choose(nowhere)
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.parent == tmp_path / "temporary"
    assert folder.stat().st_mode & 0o077 == 0
    del os.environ["NUMBA_CACHE_DIR"]
    choose(nowhere)
    assert Path(os.environ["NUMBA_CACHE_DIR"]) == folder  # so that nothing is compiled again


def test_a_folder_that_others_can_write_is_not_trusted(nowhere: Path) -> None:
    choose(nowhere)
    planted = Path(os.environ.pop("NUMBA_CACHE_DIR"))
    planted.chmod(0o777)
    choose(nowhere)
    chosen = Path(os.environ["NUMBA_CACHE_DIR"])
    assert chosen != planted
    assert chosen.stat().st_mode & 0o077 == 0


def test_a_choice_of_the_user_stands(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/own")
    choose(nowhere)
    assert os.environ["NUMBA_CACHE_DIR"] == "/own"


def test_numbas_error_gets_its_remedy() -> None:
    error = RuntimeError("cannot cache function 'x': no locator available for file 'x.py'")
    assert "NUMBA_CACHE_DIR" in advice(error)
    assert advice(RuntimeError("another")) == ""
