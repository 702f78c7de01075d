"""The lines of a journal: JSON records as Optuna writes them, each with a checksum.

The checksum is the record's last key, which Optuna ignores. Lines of older versions, and those that
Optuna writes itself, have none and are read as they are. They end in nothing that is like one, so
that a line whose checksum, or the key of it, is damaged is not taken for one of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from zlib import crc32

_CHECKSUM = re.compile(rb',"crc32":"([0-9a-f]{8})"\}\n')
_SEAL = b',"crc32":"........"}\n'  # the checksum with its key and the end of the line
_LENGTH = len(_SEAL)
_N_FIXED = _LENGTH - 8  # its bytes without the digits, which are the same in all lines
_OPERATIONS = range(11)  # the operation codes of Optuna's journal


def line_of(record: Mapping[str, Any]) -> bytes:
    """Returns the line of a record, with its checksum and its line feed."""
    body = json.dumps(record, separators=(",", ":")).encode()
    return body[:-1] + b',"crc32":"%08x"}\n' % crc32(body)


def record_of(line: bytes) -> dict[str, Any]:
    """Returns the record of a line.

    Raises:
        ValueError: The line is not as it was written; the message says what is wrong.
    """
    if is_changed(line):
        raise ValueError("it is not as it was written, by its checksum")
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not line.endswith(b"\n"):
        raise ValueError("it is cut short")
    if not isinstance(record, dict) or record.get("op_code") not in _OPERATIONS:
        raise ValueError("it is no record of Optuna's")
    return record


def fault_of(line: bytes) -> str:
    """Returns what is wrong with a line; empty where nothing is."""
    try:
        record_of(line)
    except ValueError as error:
        return str(error)
    return ""


def is_changed(line: bytes) -> bool:
    """Returns whether a line has a checksum that is not that of its record, or is damaged."""
    wrong = _difference(line)
    return wrong != 0 and (wrong is not None or _is_like_sealed(line))


def is_sealed(line: bytes) -> bool:
    """Returns whether a line has the checksum of its record."""
    return _difference(line) == 0


def whole_part(tail: bytes) -> bytes:
    """Returns what is to be kept of a last line without a line feed: its record, or nothing."""
    try:
        _, end = json.JSONDecoder().raw_decode(tail.decode("latin-1"))  # a byte is a character
    except ValueError:
        return b""
    return tail[:end] + b"\n"


def with_one_bit_back(line: bytes) -> bytes | None:
    """Returns a line as it was before one of its bits changed; None where more than that is wrong.

    A changed bit changes the checksum in a way that depends on nothing but its place, and on no
    other place in the same way for lines of less than 2^32 bits.
    """
    end = len(line) - 1  # the line feed is another matter
    for place in range(max(0, len(line) - _LENGTH), end):  # in the checksum, or in its key
        for bit in range(8):
            if is_sealed(changed := _flipped(line, place, bit)):
                return changed
    wrong = _difference(line)
    if wrong is None:
        return None
    # What a bit does to the checksum from the last place but one, whose last is the brace.
    effects = [crc32(bytes([1 << bit, 0])) ^ crc32(b"\0\0") for bit in range(8)]
    for place in range(len(line) - _LENGTH - 1, -1, -1):
        if wrong in effects and is_sealed(changed := _flipped(line, place, effects.index(wrong))):
            return changed
        effects = [crc32(b"\0", effect) ^ crc32(b"\0", 0) for effect in effects]
    return None


def _flipped(line: bytes, place: int, bit: int) -> bytes:
    return line[:place] + bytes([line[place] ^ 1 << bit]) + line[place + 1 :]


def _difference(line: bytes) -> int | None:
    """Returns the bits in which the checksum of a line differs from its record's; None for none."""
    match = _CHECKSUM.fullmatch(line, max(0, len(line) - _LENGTH))
    if match is None:
        return None
    return crc32(line[: match.start()] + b"}") ^ int(match[1], 16)


def _is_like_sealed(line: bytes) -> bool:
    """Returns whether a line ends as one with a checksum does, but for a few bytes.

    Of an end that Optuna writes, three bytes are the same at most: the quote, the brace and the
    line feed after a text.
    """
    n_equal = sum(one == other for one, other in zip(line[-_LENGTH:], _SEAL, strict=False))
    return n_equal > _N_FIXED // 2


def rejoined(first: bytes, second: bytes) -> bytes | None:
    """Returns the line of which one changed bit has made two; None where they are not that."""
    return next(
        (
            line
            for bit in range(8)
            if is_sealed(line := first[:-1] + bytes([first[-1] ^ 1 << bit]) + second)
        ),
        None,
    )


def parted(line: bytes) -> list[bytes]:
    """Returns the two lines of which one changed bit has made one; empty where it is not that."""
    first = whole_part(line)
    second = line[len(first) :]
    return [first, second] if is_sealed(first) and is_sealed(second) else []
