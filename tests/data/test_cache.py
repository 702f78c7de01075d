"""Prepared data: what is kept is loaded as it was, whole, or refused."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ncf.data.cache import load, save
from ncf.data.interactions import from_columns


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    interactions = from_columns(
        "saved", np.array(["a", "b", "b"]), np.array([1, 2, 1]), titles={1: "Ünë", 2: ""}
    )
    interactions = dataclasses.replace(interactions, columns_read=("user: é",), remarks=("so",))
    save(interactions, tmp_path / "parent" / "folder")
    return tmp_path / "parent" / "folder"


def test_what_is_saved_is_loaded_memory_mapped(saved: Path) -> None:
    interactions = load(saved)
    assert interactions.name == "saved"
    assert interactions.titles is not None
    assert interactions.titles.tolist() == ["Ünë", ""]
    assert isinstance(interactions.items, np.memmap)
    assert not interactions.has_times
    assert interactions.columns_read == ("user: é",)
    assert interactions.remarks == ("so",)
    stored = interactions.fingerprint
    assert stored == dataclasses.replace(interactions).fingerprint  # the copy computes its own
    assert [path.name for path in saved.parent.iterdir()] == ["folder"]


def test_saving_again_replaces(saved: Path) -> None:
    save(from_columns("again", np.array([1, 1, 2]), np.array([5, 6, 6])), saved)
    assert load(saved).name == "again"
    assert load(saved).titles is None
    assert [path.name for path in saved.parent.iterdir()] == ["folder"]


def test_a_save_that_fails_leaves_what_was_there(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError("No space left on device")

    before = load(saved).fingerprint
    monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(OSError, match="No space"):
        save(from_columns("again", np.array([1, 1, 2]), np.array([5, 6, 6])), saved)
    assert load(saved).fingerprint == before
    assert [path.name for path in saved.parent.iterdir()] == ["folder"]


def test_loading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load(tmp_path / "absent")


@pytest.mark.parametrize("file", ["items.npy", "user_ids.npy", "titles.npy", "interactions.json"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "removed", "lengthened", "changed"])
def test_a_torn_folder_is_refused(saved: Path, file: str, damage: str) -> None:
    path = saved / file
    content = path.read_bytes()
    damaged = {"cut": content[:-1], "emptied": b"", "lengthened": content + b"x"}
    damaged["changed"] = content[:-1] + bytes([content[-1] ^ 1])
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match="torn or foreign, make it again"):
        load(saved)
