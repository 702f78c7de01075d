"""The top k of every user, as one file: `recommend --all --out top10.parquet`.

Users are scored a block at a time with one matrix product, and the k best of each are kept by a
compiled pass over the scores, on every core. Memory is the model's and a block's. The lists are
those of `Recommender.recommend`, but for the last bits of scores that a product of another shape
rounds differently.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from ncf.data.files import whole
from ncf.serving.recommender import Recommender
from ncf.serving.scorers import shown

BLOCK_BYTES = 64 << 20  # scores of a block of users
FEW = 400  # places of a list, up to which inserting is faster than to sort the whole catalogue
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
    recommender: Recommender,
    path: Path,
    k: int,
    include_seen: bool = False,
    is_listable: NDArray[np.bool_] | None = None,
) -> Generator[int, None, None]:
    """Writes user_id, rank, item_id, score and, where there are any, title of every user's top k.

    Users that the model was not fitted to have no list. Yields the number of users of each block
    that is written. The file is there when all are.

    Args:
        recommender: The model.
        path: The file.
        k: The most items of a list.
        include_seen: Whether items that a user has seen may be listed.
        is_listable: Whether each item may be listed, (I,); None means that all may.

    Raises:
        ValueError: k is not positive.
    """
    if k < 1:
        raise ValueError(f"`k >= 1` must hold, but got k={k}")
    catalogue = recommender.catalogue
    n_items = len(catalogue.item_ids)
    fitted = catalogue.fitted_users
    item_ids = pa.array(catalogue.item_ids)
    titles = None if catalogue.titles is None else pa.array(catalogue.titles)
    user_ids = pa.array(catalogue.user_ids)
    fields = [("user_id", user_ids.type), ("rank", pa.int32()), ("item_id", item_ids.type)]
    fields += [("score", pa.float32())] + ([] if titles is None else [("title", titles.type)])
    schema, k = pa.schema(fields), min(k, n_items)
    block = max(1, BLOCK_BYTES // (4 * n_items))
    with _appearing(path) as draft, _writer(draft, path.suffix, schema) as writer:
        for start in range(0, len(fitted), block):
            users = fitted[start : start + block]
            items, scores = _top_of(recommender, users, k, include_seen, is_listable)
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
    recommender: Recommender,
    users: NDArray[np.int64],
    k: int,
    include_seen: bool,
    is_listable: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Returns the items and shown scores (B, k) of users (B,), best first; -1 for no item."""
    scores = np.require(recommender.scorer.score_all(users), np.float32, ["C", "W"])
    if is_listable is not None:
        scores[:, ~is_listable] = -np.inf
    seen = [recommender.catalogue.seen_by(int(user)) for user in users]
    if include_seen:
        seen = [none[:0] for none in seen]
    items, best = _best(scores, seen, k)
    return items, shown(recommender.scorer, best).round(6).astype(np.float32)


def _best(
    scores: NDArray[np.float32], left_out: Sequence[NDArray[np.int32]], k: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Returns the best items and their scores (B, k), of equals the first; -1, -inf for none."""
    from ncf.serving.compiled import keep_best  # numba, which a server of the model does without

    items = np.full((len(scores), k), -1, np.int32)
    best = np.full((len(scores), k), -np.inf, np.float32)
    if k <= FEW:
        indptr = np.cumsum([0, *map(len, left_out)])
        keep_best(scores, indptr, np.concatenate(left_out), items, best)
        return items, best
    for row, seen in zip(scores, left_out, strict=True):
        row[seen] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
    best = np.take_along_axis(scores, order, axis=1)
    return np.where(best > -np.inf, order, -1), best
