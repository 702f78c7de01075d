"""The files of a store that was moved, copied, linked or is shared by several folders."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ncf.study.experiment import DataFacts
from ncf.tracking import places
from ncf.tracking.database import file_of
from ncf.tracking.tracker import Tracker

FACTS = DataFacts("toy", "0123456789abcdef", {"users": 3})


def study(project: Path, name: str = "toy", store: Path | None = None) -> Tracker:
    """Opens a study of a project's folder, and keeps a file with it."""
    root = project / "mlruns"
    tracker = Tracker(f"sqlite:///{store or root / 'mlflow.db'}", root, "toy", FACTS)
    tracker.start_study(name, f"id of {name}", {"seed": 0})
    (project / "report.html").write_text(name)
    tracker.keep(project / "report.html")
    return tracker


def files_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "my shop"
    folder.mkdir()
    study(folder)
    return folder


def test_a_moved_folder_is_told_and_the_printed_link_makes_it_work(
    project: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "shop"
    moved.parent.mkdir()
    project.rename(moved)
    with pytest.raises(ValueError, match=r"it was moved or copied\. Move it back, make") as raised:
        study(moved, "new")
    assert not project.exists()
    command = str(raised.value).partition("link to it (")[2].partition("), or move")[0]
    subprocess.run(command, shell=True, check=True)
    tracker = study(moved, "new")
    assert len([*(moved / "mlruns" / "artifacts").rglob("report.html")]) == 2
    assert tracker.client.list_artifacts(tracker.parent)


def test_a_copied_folder_never_writes_to_the_first(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "copy")
    before = files_in(project)
    with pytest.raises(ValueError, match=r"Move it back, or move .*mlflow\.db\* away"):
        study(tmp_path / "copy", "new")
    assert files_in(project) == before
    shutil.copytree(project, tmp_path / "files", ignore=shutil.ignore_patterns("mlflow.db*"))
    study(tmp_path / "files", "new")
    assert files_in(project) == before


def test_a_store_that_two_folders_share_is_no_moved_one(project: Path, tmp_path: Path) -> None:
    store = tmp_path / "shared.db"
    study(project, store=store)
    (tmp_path / "other").mkdir()
    study(tmp_path / "other", "new", store)


def test_the_old_place_of_a_file_is_told_where_it_was_moved(project: Path, tmp_path: Path) -> None:
    tracker = study(project)
    location = tracker.client.get_run(tracker.parent).info.artifact_uri
    assert places.moved(file_of(tracker.uri), location) == ""
    project.rename(tmp_path / "moved")
    database = tmp_path / "moved" / "mlruns" / "mlflow.db"
    assert f"is now in {database.parent}" in places.moved(database, location)
    shutil.rmtree(database.parent / "artifacts")
    assert places.moved(database, location) == ""
    assert places.moved(None, "s3://bucket/a") == ""
