"""A model's files are data: what breaks a rule in them is told, never followed."""

from __future__ import annotations

import hashlib
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from ncf.serving import checks
from ncf.serving.catalogue import Catalogue
from ncf.serving.item_item import DenseItemItem
from ncf.serving.mixture import Mixture
from ncf.serving.packaged import load_recommender, write_model
from ncf.serving.scorers import Scorer
from tests.serving.test_recommender import (
    ITEM_IDS,
    N_ITEMS,
    USER_IDS,
    catalogue_of,
    history,
    model_of,
    model_of_last_items,
    text,
)

Arrays = dict[str, NDArray[Any]]


def written(folder: Path, scorer: Scorer | None = None, text_ids: bool = False) -> Path:
    scorer = model_of_last_items() if scorer is None else scorer
    ids = (text(USER_IDS), text(ITEM_IDS)) if text_ids else (USER_IDS, ITEM_IDS)
    write_model(folder, scorer.arrays(), {}, catalogue_of(*ids))
    return folder


def forge_catalogue(folder: Path, change: Callable[[Arrays], None]) -> None:
    """Changes the catalogue's arrays, as somebody would who makes the model anew."""
    file = folder / "catalogue.npz"
    with np.load(file) as loaded:
        arrays = dict(loaded)
    change(arrays)
    np.savez_compressed(file, **arrays)
    make_earlier(folder)


def make_earlier(folder: Path, checksum: str | None = None) -> None:
    """Makes a model one of an earlier version, with its catalogue's checksum in a file or none."""
    write_weights(folder, save(load((folder / "weights.safetensors").read_bytes())))
    if checksum is not None:
        (folder / "catalogue.sha256").write_text(checksum)


def write_weights(folder: Path, content: bytes) -> None:
    (folder / "weights.safetensors").write_bytes(content)
    (folder / "weights.sha256").write_text(hashlib.sha256(content).hexdigest())


def forge_weights(folder: Path, name: str, array: NDArray[Any]) -> None:
    """Changes an array of the weights, and their checksum with it."""
    arrays = load((folder / "weights.safetensors").read_bytes())
    assert name in arrays
    write_weights(folder, save(arrays | {name: array}))


def put(name: str, place: Any, value: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][place] = value

    return change


def replace(name: str, change: Callable[[NDArray[Any]], Any]) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: np.asarray(change(arrays[name]))})


@pytest.mark.parametrize("text_ids", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("items", 0, 2_000_000_000), r"items must be in \[0, 12\), but is in \[0, 2000000000"),
        (put("items", -1, -1), r"items must be in \[0, 12\)"),
        (replace("items", lambda items: items[::-1]), "items must be ascending and distinct"),
        (replace("items", lambda items: items[:-1]), "indptr must ascend from 0 to 7"),
        (replace("items", lambda items: items.astype(float)), "items must be integers"),
        (put("indptr", 2, 10**12), "indptr must ascend from 0 to 8"),
        (put("indptr", 0, -5), "indptr must ascend from 0 to 8"),
        (replace("indptr", lambda indptr: indptr[:-1]), "indptr must be 6 integers"),
        (replace("user_ids", lambda ids: ids[[1, 0, 2, 3, 4]]), "user_ids must be ascending"),
        (replace("item_ids", lambda ids: ids[::-1]), "item_ids must be ascending and distinct"),
        (replace("item_ids", lambda ids: ids.reshape(3, 4)), "item_ids must be a row of texts"),
        (replace("user_ids", lambda ids: np.arange(5.0)), "user_ids must be a row of texts"),
        (replace("titles", lambda titles: titles[:-1]), "titles must be 12 texts or none"),
        (lambda arrays: arrays.pop("items"), "items"),
        (lambda arrays: arrays.update(fitted=np.ones(4, bool)), "fitted must be 5 truth values"),
        (lambda arrays: arrays.update(fitted=np.ones(5)), "fitted must be 5 truth values"),
    ],
)
def test_a_catalogue_that_breaks_a_rule_is_refused(
    tmp_path: Path, text_ids: bool, change: Callable[[Arrays], None], message: str
) -> None:
    forge_catalogue(written(tmp_path, text_ids=text_ids), change)
    with pytest.raises(ValueError, match=f"the model is damaged .*{message}"):
        load_recommender(tmp_path)


def dense() -> DenseItemItem:
    seen = history()
    weights = np.ones((N_ITEMS, N_ITEMS), np.float32)
    return DenseItemItem(seen.indptr, seen.items, np.ones(len(seen.items), np.float32), weights)


def mixed() -> Mixture:
    return Mixture(model_of(), dense(), 0.5)


@pytest.mark.parametrize(
    ("scorer", "name", "change", "message"),
    [
        (None, "item_factors", lambda a: np.full_like(a, np.nan), "item_factors holds values"),
        (None, "item_bias", lambda a: np.full_like(a, np.inf), "item_bias holds values that are"),
        (None, "item_bias", lambda a: a[:1], r"item_bias is of shape \(1,\), but there are 12"),
        (None, "user_factors", lambda a: a[:, :1], "the model is damaged"),
        (None, "recent_items", lambda a: a + 2_000_000_000, r"recent_items must be in \[-1, 12\)"),
        (None, "recent_items", lambda a: a[:2], r"recent_items is of shape \(2, 2\)"),
        (None, "recent_weights", lambda a: a[:1], "the model is damaged"),
        (dense, "history_items", lambda a: a + 2_000_000_000, r"history_items must be in \[0, 12"),
        (dense, "history_indptr", lambda a: a * 1000, "history_indptr must ascend from 0 to 8"),
        (dense, "weights", lambda a: a[:, :3].copy(), r"weights is of shape \(12, 3\), but has to"),
        (
            mixed,
            "second.history_items",
            lambda a: a - 9,
            r"second.history_items must be in \[0, 12",
        ),
        (mixed, "second.history_indptr", lambda a: a[:-1], "second.history_indptr must be 6 integ"),
        (mixed, "first.item_bias", lambda a: a[:-1], r"first.item_bias is of shape \(11,\)"),
        (mixed, "weight", lambda a: a * np.nan, "weight holds values that are no numbers"),
    ],
)
def test_weights_that_break_a_rule_are_refused(
    tmp_path: Path,
    scorer: Callable[[], Scorer] | None,
    name: str,
    change: Callable[[NDArray[Any]], NDArray[Any]],
    message: str,
) -> None:
    model: Scorer = model_of_last_items() if scorer is None else scorer()
    written(tmp_path, model)
    forge_weights(tmp_path, name, change(model.arrays()[name]))
    with pytest.raises(ValueError, match=message):
        load_recommender(tmp_path)


@pytest.mark.parametrize("text_ids", [False, True])
def test_a_catalogue_of_other_ids_is_refused_by_its_checksum(
    tmp_path: Path, text_ids: bool
) -> None:
    """Whatever rules it keeps: the answers would be other people's."""
    written(tmp_path, text_ids=text_ids)
    checksum = load_recommender(tmp_path).catalogue.digest
    whole = (tmp_path / "weights.safetensors").read_bytes()
    forge_catalogue(tmp_path, replace("user_ids", lambda ids: np.append(ids[1:], ids[-1:] + "z")
                    if text_ids else np.append(ids[1:], 9999)))  # fmt: skip
    assert load_recommender(tmp_path).recommend(["5000"], k=1)  # as a model without checksum
    make_earlier(tmp_path, checksum)
    with pytest.raises(ValueError, match="the catalogue is not that of its checksum"):
        load_recommender(tmp_path)
    (tmp_path / "catalogue.sha256").unlink()
    write_weights(tmp_path, whole)
    with pytest.raises(ValueError, match="the catalogue is not that of its checksum"):
        load_recommender(tmp_path)


def test_a_checksum_does_not_depend_on_the_width_of_text(tmp_path: Path) -> None:
    narrow, wide = (
        catalogue_of(text(USER_IDS).astype(kind), text(ITEM_IDS)) for kind in ("<U8", "<U80")
    )
    assert narrow.digest == wide.digest
    assert narrow.digest != catalogue_of(text(USER_IDS + 1), text(ITEM_IDS)).digest
    assert catalogue_of(titles=None).digest != catalogue_of().digest


def test_a_model_without_a_catalogues_checksum_answers_as_before_but_it_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_recommender(written(tmp_path))
    answer = model.recommend([3])
    make_earlier(tmp_path, model.catalogue.digest)
    assert load_recommender(tmp_path).recommend([3]) == answer
    assert not caplog.records
    (tmp_path / "catalogue.sha256").unlink()
    assert load_recommender(tmp_path).recommend([3]) == answer
    assert "of an earlier version, without a checksum of its catalogue" in caplog.text


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "UNPACKED_BYTES", 1 << 20)
    written(tmp_path)
    forge_catalogue(tmp_path, replace("items", lambda _: np.zeros(8 << 20, np.int32)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"0\.0 MB that unpack to 0\.0 GB are no catalogue"):
        load_recommender(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_an_array_that_is_shorter_than_its_header_says_is_not_made(tmp_path: Path) -> None:
    written(tmp_path)
    with np.load(tmp_path / "catalogue.npz") as loaded:
        arrays = dict(loaded)
    with zipfile.ZipFile(tmp_path / "catalogue.npz", "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                shape = (10**11,) if name == "items" else array.shape
                header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                member.write(array.tobytes())
    with pytest.raises(ValueError, match=r"items must take 4000000001\d\d bytes, but takes"):
        load_recommender(tmp_path)


@pytest.mark.parametrize(
    "pointer", ['{"uri": "http://host/x.npz"}', '{"uri": 3}', "[]", '{"uri": "/etc/passwd"}']
)
def test_a_model_points_to_no_address_but_a_runs(tmp_path: Path, pointer: str) -> None:
    written(tmp_path)
    (tmp_path / "catalogue.npz").unlink()
    (tmp_path / "catalogue.json").write_text(pointer)
    with pytest.raises(ValueError, match="names no artifact of a run"):
        load_recommender(tmp_path)


def test_ids_longer_than_the_longest_are_unknown_and_widen_nothing() -> None:
    catalogue = Catalogue(
        np.array(["a", "bb"]), np.array(["x"]), None, np.zeros(3, np.int64), np.array([], np.int32)
    )
    tracemalloc.start()
    assert catalogue.user_of("b" * 10**6) is None
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    found = [catalogue.user_of(name) for name in ("a", "bb", "b", "bbb", "")]
    assert found == [0, 1, None, None, None]
