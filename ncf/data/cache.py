"""Prepared data: the interactions of large files, kept in `prepared/KEY` of the cache folder.

KEY is a SHA-256 over the bytes of the files and the way they are read, so that a changed file is
read anew. What is kept is checked byte for byte before it is used.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ncf.data.files import cache_folder, whole
from ncf.data.interactions import Interactions

_log = logging.getLogger(__name__)

_FORMAT_VERSION = 5  # raised when prepared data of an older version must not be used
CACHED_FROM_BYTES = 16 * 2**20
_ARRAYS = ("indptr", "items", "timestamps", "user_ids", "item_ids", "titles")
_RECORDED = ("name", "has_times", "columns_read", "remarks")


def prepared(
    files: Sequence[Path], how: Mapping[str, object], read: Callable[[], Interactions]
) -> Interactions:
    """Returns the interactions of files: what is kept of them, else what `read` returns.

    Only what comes from 16 MB and more is kept. `how` is all, beside the files' bytes, that decides
    what `read` returns, in values that JSON can hold.
    """
    if sum(file.stat().st_size for file in files) < CACHED_FROM_BYTES:
        return read()
    options = {"version": _FORMAT_VERSION, **how, "files": [sha256_of(file) for file in files]}
    key = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / "prepared" / key
    try:
        return load(folder)
    except FileNotFoundError:
        pass
    except ValueError as error:
        _log.warning("%s", error)
    interactions = read()
    try:
        save(interactions, folder)
    except OSError as error:  # it would only have saved time
        _log.warning("%s: prepared data could not be kept: %s", folder, error)
    return interactions


def save(interactions: Interactions, folder: Path) -> None:
    """Writes one `.npy` file per array and `interactions.json`; replaces what `folder` held."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole(folder) as draft:
        draft.mkdir()
        checksums = {}
        for field in _ARRAYS:
            array = getattr(interactions, field)
            if array is not None:
                path = draft / f"{field}.npy"
                np.save(path, array, allow_pickle=False)
                checksums[path.name] = sha256_of(path)
        record = {
            **{field: getattr(interactions, field) for field in _RECORDED},
            "fingerprint": interactions.fingerprint,
            "checksums": checksums,
        }
        text = json.dumps(record, ensure_ascii=False, indent=1)
        (draft / "interactions.json").write_text(text, encoding="utf-8")


def load(folder: Path) -> Interactions:
    """Returns what `save` wrote, memory-mapped, after a check of every byte.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: A file is missing or torn.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of saved interactions")
    try:
        record = json.loads((folder / "interactions.json").read_text(encoding="utf-8"))
        arrays = {}
        for file, checksum in record["checksums"].items():
            if sha256_of(folder / file) != checksum:
                raise ValueError(f"{file} is not what was saved")
            arrays[Path(file).stem] = np.load(folder / file, mmap_mode="r", allow_pickle=False)
        interactions = Interactions(
            record["name"],
            **arrays,
            has_times=record["has_times"],
            columns_read=tuple(record["columns_read"]),
            remarks=tuple(record["remarks"]),
        )
        fingerprint = record["fingerprint"]
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{folder}: torn or foreign, make it again: {error}") from error
    interactions.__dict__["fingerprint"] = fingerprint  # where `cached_property` looks first
    return interactions


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
