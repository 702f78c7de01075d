"""Results in a place that may only be read: the commands that read them need no lock."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import optuna
import pytest
from filelock import FileLock

from ncf.__main__ import main
from ncf.study.storage import open_storage

JOURNAL = Path("mlruns/optuna.journal")


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("mlruns/studies/shop")
    folder.mkdir(parents=True)
    search = {"pid": 1, "host": "another-machine", "began": 1.0, "n_trials": 3, "jobs": 1}
    (folder / "search.json").write_text(json.dumps(search))
    optuna.create_study(storage=open_storage(str(JOURNAL)), study_name="shop", direction="maximize")

    def refuse(lock: FileLock, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), lock.lock_file)

    monkeypatch.setattr(FileLock, "acquire", refuse)  # root may write in spite of a folder's mode


@pytest.mark.usefixtures("read_only")
def test_what_may_only_be_read_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    assert "study shop: 0/3 trials" in capsys.readouterr().out
    assert main(["trials"]) == 0
    assert main(["check"]) == 0
    assert "optuna.journal: 1 records, 1 of them with a checksum, are whole" in (
        capsys.readouterr().out
    )


@pytest.mark.usefixtures("read_only")
def test_what_may_only_be_read_is_not_mended(capsys: pytest.CaptureFixture[str]) -> None:
    damaged = JOURNAL.read_bytes().replace(b"shop", b"shnp")  # one bit
    JOURNAL.write_bytes(damaged)
    assert main(["check"]) == 2
    told = capsys.readouterr().err
    assert (
        "it is damaged, first in line 1, and nothing was put right, as its folder may only" in told
    )
    assert JOURNAL.read_bytes() == damaged
