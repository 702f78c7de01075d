"""A new store: whole or not at all, made once by many, copied where a sound copy is at hand."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from ncf.data.files import cache_folder
from ncf.study.experiment import DataFacts
from ncf.tracking import new_store
from ncf.tracking.database import count_runs, file_of
from ncf.tracking.store import default_uri, open_client
from ncf.tracking.tracker import Tracker

FACTS = DataFacts("toy", "0123456789abcdef", {"users": 3})
OPEN = """import sys
from ncf.tracking.store import open_client
print("loaded", flush=True)
open_client(sys.argv[1], create=True)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stores are kept, of the test alone."""
    monkeypatch.setenv("NCF_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "stores"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The name and the content of what is kept of a store that MLflow has made."""
    new_store.make_store(tmp_path_factory.mktemp("ready") / "mlflow.db")
    kept = sorted((cache_folder() / "stores").iterdir(), key=os.path.getmtime)[-1]
    return kept.name.encode() + b"\n" + kept.read_bytes()


def keep(cache: Path, ready: bytes) -> Path:
    name, _, content = ready.partition(b"\n")
    cache.mkdir(parents=True)
    (cache / name.decode()).write_bytes(content)
    return cache / name.decode()


def schema_of(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    return [name for (name,) in found]


@pytest.mark.slow
def test_the_store_is_the_one_that_mlflow_makes(tmp_path: Path, ready: bytes, cache: Path) -> None:
    keep(cache, ready)
    own, ours = tmp_path / "own.db", tmp_path / "ours.db"
    SqlAlchemyStore(f"sqlite:///{own}", str(tmp_path))  # type: ignore[no-untyped-call]
    with closing(sqlite3.connect(own)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    client = open_client(f"sqlite:///{ours}", create=True)
    assert schema_of(ours) == schema_of(own)
    assert [one.name for one in client.search_experiments()] == ["Default"]
    assert client.get_experiment("0").artifact_location.startswith(str(Path.cwd()))


def test_a_ready_store_is_copied_without_any_migration(
    tmp_path: Path, ready: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cache, ready)
    monkeypatch.setattr(new_store, "_with_tables", None)
    tracker = Tracker(f"sqlite:///{tmp_path}/a/mlflow.db", tmp_path, "toy", FACTS)
    assert tracker.start_study("toy", "id", {"seed": 0})


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 5000, None])
def test_a_damaged_copy_is_never_used(
    tmp_path: Path,
    ready: bytes,
    cache: Path,
    content: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = keep(cache, ready)
    good = kept.read_bytes()
    kept.write_bytes(good[:-1] + bytes([good[-1] ^ 1]) if content is None else content)
    monkeypatch.setattr(new_store, "_with_tables", lambda: good[32:])
    new_store.make_store(tmp_path / "mlflow.db")
    assert (tmp_path / "mlflow.db").read_bytes() == good[32:]
    assert kept.read_bytes() == good


def test_a_cache_that_cannot_be_written_is_no_matter(
    tmp_path: Path, ready: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setattr(new_store, "_with_tables", lambda: ready.partition(b"\n")[2][32:])
    new_store.make_store(tmp_path / "mlflow.db")
    assert len(schema_of(tmp_path / "mlflow.db")) > 100


def test_a_file_without_tables_is_made_anew_and_what_a_lost_one_left_is_removed(
    tmp_path: Path, ready: bytes, cache: Path
) -> None:
    keep(cache, ready)
    database = tmp_path / "mlflow.db"
    database.touch()  # as older versions left it when they were killed at once
    (tmp_path / "mlflow.db-wal").write_bytes(b"of another file")
    tracker = Tracker(f"sqlite:///{database}", tmp_path, "toy", FACTS)
    assert tracker.start_study("toy", "id", {"seed": 0})
    assert len(schema_of(database)) > 100


def half_made(database: Path, ready: bytes, n_runs: int) -> None:
    """Makes a store in which MLflow was killed while it made its tables."""
    database.write_bytes(ready.partition(b"\n")[2][32:])
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TABLE logged_models")
        connection.execute("UPDATE alembic_version SET version_num = '90e64c465722'")
        for run in range(n_runs):
            connection.execute("INSERT INTO runs (run_uuid) VALUES (?)", [str(run)])
        connection.commit()


@pytest.mark.parametrize(
    ("n_runs", "remedy"), [(0, "It holds no runs.*remove it"), (3, "It holds 3 runs: put a copy")]
)
def test_a_half_made_store_is_told_with_what_to_do(
    tmp_path: Path, ready: bytes, n_runs: int, remedy: str
) -> None:
    database = tmp_path / "mlflow.db"
    half_made(database, ready, n_runs)
    with pytest.raises(ValueError, match=f"MLflow was interrupted while.*{remedy}") as raised:
        Tracker(f"sqlite:///{database}", tmp_path, "toy", FACTS)
    assert "\n" not in str(raised.value)
    assert count_runs(database) == n_runs


@pytest.mark.parametrize("name", ["100%20 off?", "Jürgens Läden", "数据 集", "a#b&c=d"])
def test_a_folder_of_any_name_holds_a_store(
    tmp_path: Path, ready: bytes, cache: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cache, ready)
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    uri = default_uri()
    assert file_of(uri) == folder / "mlruns" / "mlflow.db"
    tracker = Tracker(uri, Path("mlruns"), "toy", FACTS)
    tracker.start_study("toy", "id", {"seed": 0})
    (folder / "report.html").write_text("page")
    tracker.keep(folder / "report.html")
    assert (folder / "mlruns" / "mlflow.db").exists()
    assert len([*(folder / "mlruns" / "artifacts").rglob("report.html")]) == 1
    path = tracker.client.download_artifacts(tracker.parent, "report.html")
    assert Path(path).read_text() == "page"


@pytest.mark.slow
def test_eight_at_once_make_one_store(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, f"sqlite:///{tmp_path}/new/mlflow.db"]
    processes = [subprocess.Popen(command) for _ in range(8)]
    assert [process.wait() for process in processes] == [0] * 8
    assert len(schema_of(tmp_path / "new" / "mlflow.db")) > 100


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 0.6, 1.0, 1.5])
def test_a_kill_in_the_first_start_leaves_a_store_or_none(tmp_path: Path, seconds: float) -> None:
    uri = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    command = [sys.executable, "-c", OPEN, uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"loaded\n"
        time.sleep(seconds)
        killed.kill()
    if (tmp_path / "mlruns" / "mlflow.db").exists():
        assert len(schema_of(tmp_path / "mlruns" / "mlflow.db")) > 100
    client = open_client(uri, create=True)
    assert [one.name for one in client.search_experiments()] == ["Default"]
