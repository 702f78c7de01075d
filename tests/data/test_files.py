"""Files are whole or absent, also where the disk is full for a while."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ncf.data import files
from ncf.data.files import write_whole


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

    def full(source: Path, target: Path) -> None:
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

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(files, "_PATIENCE", -1.0)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "weights.bin", b"new")
