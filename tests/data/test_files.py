"""Files are whole or absent, also where the disk is full for a while."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ncf.data import files
from ncf.data.files import whole, write_whole


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    for content in (b"old", b"new and longer"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_room_on_a_full_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, replace, naps = tmp_path / "weights.bin", os.replace, []
    write_whole(path, b"old")

    def full(source: Path, target: Path, **_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def nap(seconds: float) -> None:
        assert path.read_bytes() == b"old"
        naps.append(seconds)
        if len(naps) == 8:  # somebody has made room
            monkeypatch.setattr(os, "replace", replace)

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr("ncf.data.files.time.sleep", nap)
    write_whole(path, b"new")
    assert naps == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert path.read_bytes() == b"new"
    assert caplog.text.count("weights.bin: the disk is full; waiting for room") == 1


def test_it_is_not_waited_for_without_end_nor_for_other_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "weights.bin", b"new")

    def full(source: Path, target: Path, **_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(files, "PATIENCE", -1.0)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "weights.bin", b"new")


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for names in (["a", "b"], ["c"]):
        with whole(path) as draft:
            draft.mkdir()
            for name in names:
                (draft / name).write_text(name)
        assert sorted(file.name for file in path.iterdir()) == names
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("how", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_what_was_there_stays_where_the_writer_fails(
    tmp_path: Path, how: type[BaseException]
) -> None:
    path = tmp_path / "lists.csv"
    write_whole(path, b"old")

    def fail() -> None:
        with whole(path) as draft:
            draft.write_text("new, but torn")
            raise how

    with pytest.raises(how):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from ncf.data.files import whole\n"
        "with whole(pathlib.Path(sys.argv[1])) as draft:\n"
        "    draft.mkdir(); (draft / 'half').touch(); os._exit(9)"
    )
    path = tmp_path / "model"
    assert subprocess.run([sys.executable, "-c", code, f"{path}"], check=False).returncode == 9
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1
    write_whole(path, b"a file this time")
    assert list(tmp_path.iterdir()) == [path]
