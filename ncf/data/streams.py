"""A file's content as UTF-8, some megabytes at a time, whatever it is compressed or encoded with.

Compression, by the last suffix: .gz .bz2 .xz .zst, or .zip with one member (what a Mac puts beside
it does not count). UTF-16, as Excel writes "Unicode text", is known by its first bytes. A mark of
the byte order is left out, and the line ends of old Macs become those of everybody.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import pyarrow as pa

DAMAGED = (
    *(EOFError, OSError, RuntimeError, UnicodeDecodeError),
    *(lzma.LZMAError, zlib.error, zipfile.BadZipFile),
)
"""What reading a damaged or encrypted file raises; an OSError with a file name is another matter.
"""

BLOCK_BYTES = 2**22
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def read_blocks(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yields the content of a file; blocks end anywhere."""
    with _opened(path) as file:
        block = file.read(block_bytes)
        mark = next((mark for mark in _MARKS if block.startswith(mark)), b"")
        block = block[len(mark) :]
        encoding = _MARKS.get(mark) or _unmarked_utf16(block)
        decoder = None
        if encoding not in (None, "utf-8"):
            decoder = codecs.getincrementaldecoder(encoding)()
        is_old_mac: bool | None = None
        while block:
            following = file.read(block_bytes)
            if decoder is not None:
                block = decoder.decode(block, final=not following).encode()
            if is_old_mac is None:
                is_old_mac = b"\r" in block and b"\n" not in block
            yield block.replace(b"\r", b"\n") if is_old_mac else block
            block = following


def in_native_memory(content: bytes) -> pa.BufferReader:
    """Returns a file over a copy of the content that no Python object stands behind.

    Threads of pyarrow may let go of what they read while Python exits, which ends the process by
    SIGABRT where that is a Python object.
    """
    sink = pa.BufferOutputStream()
    sink.write(content)
    return pa.BufferReader(sink.getvalue())


def _unmarked_utf16(block: bytes) -> str | None:
    """Returns the encoding of text whose every second byte is 0, as for Latin letters in UTF-16."""
    head = block[:64]
    for encoding, zeros, others in (
        ("utf-16-le", head[1::2], head[::2]),
        ("utf-16-be", head[::2], head[1::2]),
    ):
        if len(head) >= 8 and not any(zeros) and all(others):
            return encoding
    return None


def _opened(path: Path) -> BinaryIO:
    """Returns the file's content, decompressed as it is read."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if suffix == ".bz2":
        return cast(BinaryIO, bz2.open(path))
    if suffix == ".xz":
        return cast(BinaryIO, lzma.open(path))
    if suffix == ".zst":
        return cast(BinaryIO, io.BufferedReader(pa.input_stream(path, compression="zstd")))
    if suffix == ".zip":
        return _member(path)
    return path.open("rb")


def _member(path: Path) -> BinaryIO:
    archive = zipfile.ZipFile(path)
    members = []
    for member in archive.infolist():
        parts = PurePosixPath(member.filename).parts
        is_hidden = "__MACOSX" in parts or parts[-1:] == ("Thumbs.db",) or parts[-1][:1] == "."
        if not member.is_dir() and not is_hidden:
            members.append(member)
    if len(members) != 1:
        raise ValueError(
            f"{path}: must hold one file, holds {len(members)}; unpack it and give the path "
            "of the file with the ratings"
        )
    return cast(BinaryIO, archive.open(members[0]))
