"""A local store's file that is damaged, or that another program has locked."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ncf.tracking import database
from ncf.tracking.store import open_client


@pytest.mark.parametrize("damage", ["half", "text"])
def test_a_damaged_store_is_told_with_the_way_out(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "mlflow.db"
    open_client(f"sqlite:///{file}", create=True)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage == "half" else b"not a database" * 999)
    with pytest.raises(ValueError, match=r"it is damaged, or no MLflow store .* move it away"):
        open_client(f"sqlite:///{file}", create=True)


def test_a_locked_store_is_waited_for_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mlflow.db"
    monkeypatch.setattr(database, "WORD_SECONDS", 0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("BEGIN EXCLUSIVE")
        waiting = threading.Thread(target=database.wait_for_lock, args=(file,))
        with caplog.at_level(logging.WARNING):
            waiting.start()
            waiting.join(0.5)
            assert waiting.is_alive()
            other.execute("ROLLBACK")
            waiting.join(20)
    assert not waiting.is_alive()
    assert caplog.text.count("another program has locked") == 1


def test_a_store_that_stays_locked_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mlflow.db"
    monkeypatch.setattr(database, "WORD_SECONDS", 0.05)
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TimeoutError, match="give the same command again"):
            database.wait_for_lock(file)
