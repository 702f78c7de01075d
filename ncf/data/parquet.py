"""Parquet: one file, or a folder of parts as Spark writes it, perhaps in partitions.

The parts in a folder are read in the order of their paths. A folder `day=2024-01-31` above a part
is a column `day` of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet

from ncf.data.columns import Columns, find_columns
from ncf.data.files import files_of
from ncf.data.sources import Batch, Source

_SUFFIXES = (".parquet", ".pq")
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def is_parquet(path: Path) -> bool:
    """Returns whether a file, or the first of a folder, ends or begins as a parquet file.

    Raises:
        ValueError: There are no files in the folder.
    """
    first = files_of(path)[0]
    if first.suffix.lower() in _SUFFIXES:
        return True
    with first.open("rb") as file:
        return file.read(4) == b"PAR1"


def open_parquet(path: Path, columns: Columns) -> Source:
    """Returns the file or folder with its columns found.

    Raises:
        ValueError: It is torn, or its columns cannot be told.
    """
    files = files_of(path)
    try:
        with pa.parquet.ParquetFile(files[0]) as file:
            schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _torn(files[0], error) from error
    partitions = _partitions(path, files[0])
    names = (*schema.names, *(name for name in partitions if name not in schema.names))
    places = find_columns(names, columns, f"{path}")
    label = names[places["label"]] if "label" in places else ""
    if label in schema.names and pa.types.is_nested(schema.field(label).type):
        del places["label"]  # a list or an object says neither yes nor no
    wanted = {role: names[place] for role, place in places.items()}
    return Source(places, names, True, (), _read(path, files, wanted))


def _read(path: Path, files: Sequence[Path], wanted: Mapping[str, str]) -> Iterator[Batch]:
    for part in files:
        partitions = _partitions(path, part)
        start = 0
        try:
            with pa.parquet.ParquetFile(part) as file:
                own = [name for name in wanted.values() if name not in partitions]
                for batch in file.iter_batches(columns=own):
                    columns = {
                        role: pa.repeat(partitions[name], len(batch))
                        if name in partitions
                        else batch[name]
                        for role, name in wanted.items()
                    }
                    yield Batch(part, columns, partial(_in_words, start))
                    start += len(batch)
        except KeyError as error:
            raise ValueError(
                f"{part}: no column {error}, which {files[0]} has; give parts of one table"
            ) from error
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _torn(part, error) from error


def _in_words(start: int, row: int) -> str:
    return f"row {start + row + 1}"


def _partitions(path: Path, file: Path) -> dict[str, pa.Scalar]:
    """Returns the columns that the folders between a path and a file of it stand for."""
    pairs = [part.split("=", 1) for part in file.relative_to(path).parts[:-1] if "=" in part]
    return {
        name: pa.scalar(None if value == _NO_PARTITION else unquote(value), pa.string())
        for name, value in pairs
    }


def _torn(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: not a whole parquet file ({error}); write it again")
