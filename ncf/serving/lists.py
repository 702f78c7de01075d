"""The top k of every user, as one file: `recommend --all --out top10.parquet`.

Users are scored a block at a time with one matrix product, and the k best of each are kept by a
compiled pass over the scores, on every core. Memory is the model's and a block's. The lists are
those of `Recommender.recommend`, but for the last bits of scores that a product of another shape
rounds differently.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from ncf.data.files import whole
from ncf.serving.recommender import Recommender

BLOCK_BYTES = 64 << 20  # scores of a block of users
_SUFFIXES = (".parquet", ".csv")


def check_file(path: Path) -> None:
    """Raises where lists cannot be written to `path`.

    Raises:
        ValueError: The name ends in no format that is written.
        FileNotFoundError: There is no such folder.
    """
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"--out {path}: the name must end in {' or '.join(_SUFFIXES)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--out {path}: no folder {path.parent}; make it first")


def write_lists(
    recommender: Recommender, path: Path, k: int, include_seen: bool = False
) -> Generator[int, None, None]:
    """Writes user_id, rank, item_id, score and, where there are any, title of every user's top k.

    Yields the number of users of each block that is written. The file is there when all are.

    Raises:
        ValueError: k is not positive.
    """
    if k < 1:
        raise ValueError(f"`k >= 1` must hold, but got k={k}")
    catalogue = recommender.catalogue
    n_users, n_items = len(catalogue.user_ids), len(catalogue.item_ids)
    item_ids = pa.array(catalogue.item_ids)
    titles = None if catalogue.titles is None else pa.array(catalogue.titles)
    user_ids = pa.array(catalogue.user_ids)
    fields = [("user_id", user_ids.type), ("rank", pa.int32()), ("item_id", item_ids.type)]
    fields += [("score", pa.float32())] + ([] if titles is None else [("title", titles.type)])
    schema, k = pa.schema(fields), min(k, n_items)
    block = max(1, BLOCK_BYTES // (4 * n_items))
    with _appearing(path) as draft, _writer(draft, path.suffix, schema) as writer:
        for start in range(0, n_users, block):
            users = np.arange(start, min(start + block, n_users))
            items, scores = _top_of(recommender, users, k, include_seen)
            rows, ranks = np.nonzero(items >= 0)
            chosen = items[rows, ranks]
            columns = [
                user_ids.take(pa.array(users[rows])),
                pa.array((ranks + 1).astype(np.int32)),
                item_ids.take(pa.array(chosen)),
                pa.array(scores[rows, ranks]),
            ]
            if titles is not None:
                columns.append(titles.take(pa.array(chosen)))
            writer.write_batch(pa.record_batch(columns, schema=schema))
            yield len(users)


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Lets the body write a file that takes the place of `path` when it is whole.

    Raises:
        OSError: It cannot be written; the message names `path`, which the system does not know.
    """
    try:
        with _unseen(path) as draft:
            yield draft
    except OSError as error:
        raise OSError(f"{path}: cannot be written: {error}") from error


@contextmanager
def _unseen(path: Path) -> Iterator[Path]:
    """Lets the body write a file that has no name before it is whole.

    So a process that is killed leaves nothing behind. Where the system has no files without a name,
    it is a draft beside `path`, which the next process that writes `path` removes.
    """
    try:
        file = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except (AttributeError, OSError):  # no Linux, or a file system without such files
        with whole(path) as draft:
            yield draft
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        nameless = Path(f"/proc/self/fd/{file}")
        yield nameless
        with whole(path) as draft:  # a file can only be linked where there is none
            # a folder has to be given, or Python links the symbolic link itself
            os.link(nameless, draft, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(file)
        os.close(folder)


def _writer(
    path: Path, suffix: str, schema: pa.Schema
) -> pa.parquet.ParquetWriter | pa.csv.CSVWriter:
    if suffix == ".csv":
        return pa.csv.CSVWriter(path, schema)
    return pa.parquet.ParquetWriter(path, schema)


def _top_of(
    recommender: Recommender, users: NDArray[np.int64], k: int, include_seen: bool
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Returns the items and shown scores (B, k) of users (B,), best first; -1 where there is none.

    Users are neighbours, so that their seen items are one piece.
    """
    from ncf.serving.compiled import keep_best  # numba, which a server of the model does without

    catalogue = recommender.catalogue
    bounds = catalogue.seen_indptr[int(users[0]) : int(users[-1]) + 2]
    indptr = bounds - bounds[0]
    left_out = catalogue.seen_items[bounds[0] : bounds[-1]]
    if include_seen:
        indptr, left_out = np.zeros_like(indptr), left_out[:0]
    items = np.full((len(users), k), -1, np.int32)
    best = np.full((len(users), k), -np.inf, np.float32)
    scores = np.require(recommender.scorer.score_all(users), np.float32, ["C", "W"])
    keep_best(scores, indptr, left_out, items, best)
    return items, recommender.shown(best).astype(np.float32)
