"""The check of a journal: which records are damaged, and what can be put right.

One changed bit is found by the checksum of its line, and changed back. What else is wrong is taken
from the copy that the last start made. What neither mends can be cut off, with all that follows it:
what a journal held at an earlier moment is a sound record, from which the search command goes on to
the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from ncf.data.files import write_whole
from ncf.data.locks import held, is_read_only
from ncf.study.journal_file import backup_of, lock_of
from ncf.study.records import (
    fault_of,
    is_sealed,
    parted,
    record_of,
    rejoined,
    whole_part,
    with_one_bit_back,
)
from ncf.study.replay import Replay, first_unreadable
from ncf.study.storage import check_kind


@dataclass(frozen=True)
class Fault:
    """A damaged record.

    Attributes:
        line: Its line in the file, from 1.
        place: The byte that its line begins at.
        what: What the record is of, as far as that can be told.
        reason: What is wrong with it.
        mended: How it was put right; empty where it was not.
    """

    line: int
    place: int
    what: str
    reason: str
    mended: str = ""


@dataclass(frozen=True)
class Health:
    """What a check has found.

    Attributes:
        n_lines: The number of whole records.
        n_sealed: How many of them have a checksum.
        faults: The damaged records, in order.
        n_ended: How many trials of each study have ended before the first fault that is left.
        original: The copy of the file as it was; None where nothing was changed.
        differs: Whether the file, though each record is whole, is not as its copy begins.
    """

    n_lines: int
    n_sealed: int
    faults: tuple[Fault, ...]
    n_ended: dict[str, int]
    original: Path | None = None
    differs: bool = False

    @property
    def left(self) -> Fault | None:
        """The first fault that could not be put right."""
        return next((fault for fault in self.faults if not fault.mended), None)


def check(path: Path, cut: bool = False) -> Health:
    """Finds the damaged records of a journal, and puts right what can be.

    Args:
        path: The journal. A copy of it is kept beside it before anything in it is changed.
        cut: Whether to cut off a record that cannot be put right, with all that follows it.

    Raises:
        ValueError: There is no such journal.
        PermissionError: Something can be put right, in a folder that may only be read.
    """
    if not path.is_file():
        raise ValueError(f"--storage {path}: no such journal; give the file of a study's record")
    check_kind(path)
    try:
        with held(lock_of(path)):
            return _checked(path, cut, is_writable=True)
    except OSError as error:
        if not is_read_only(error):
            raise
    return _checked(path, cut, is_writable=False)


def _checked(path: Path, cut: bool, is_writable: bool) -> Health:
    content = path.read_bytes()
    mended, health = _mended(content)
    backup = backup_of(path)
    copy = backup.read_bytes() if backup.exists() else b""
    if health.left and copy:
        mended, health = _from_copy(content, copy, mended, health)
    if not health.left and copy and not mended.startswith(copy):
        mended, health = _beside_copy(copy, mended, health)
    if cut and health.left:
        mended = mended[: health.left.place]
        faults = [fault for fault in health.faults if fault.mended]
        cut_off = replace(health.left, mended="cut off, with all that followed it")
        health = replace(health, faults=(*faults, cut_off))
    if mended != content:
        if not is_writable:
            first = f", first in line {health.faults[0].line}" if health.faults else ""
            raise PermissionError(
                f"{path}: it is damaged{first}, and nothing was put right, as its folder may only "
                "be read: copy it to where you may write, with its backup, and check the copy"
            )
        original = _free_name(path.with_name(f"{path.name}.before-check"))
        path.rename(original)  # another file, so that a search that is going on notices
        write_whole(path, mended)
        health = replace(health, original=original)
    return health


def _mended(content: bytes) -> tuple[bytes, Health]:
    """Returns a journal with its records put right as far as their checksums tell."""
    lines = [line + b"\n" for line in content.split(b"\n")]
    if not content or content.endswith(b"\n"):
        del lines[-1]
    else:
        lines[-1] = lines[-1][:-1]
    replay, faults, sound = Replay(), list[Fault](), list[tuple[int, bytes]]()
    n_ended: dict[str, int] | None = None  # before the first fault that is left
    number = place = 0
    while number < len(lines):
        line, reason, right, n, how = lines[number], fault_of(lines[number]), [lines[number]], 1, ""
        if reason:
            right, n, how = _put_right(lines, number)
            what = replay.what(right[0] if right else line)
            faults.append(Fault(number + 1, place, what, reason, how))
            if not how and n_ended is None:
                n_ended = replay.n_ended()
        for one in right:
            replay.add(record_of(one))
        sound += [(number + 1, one) for one in right or ([] if how else [line])]
        place += sum(map(len, lines[number : number + n]))
        number += n
    records = [record_of(one) for _, one in sound] if n_ended is None else []
    if (unreadable := first_unreadable(records)) is not None:
        index, reason = unreadable
        before = Replay()
        for record in records[:index]:
            before.add(record)
        number, line = sound[index]
        place = sum(len(one) for _, one in sound[:index])
        faults.append(Fault(number, place, before.what(line), reason))
        n_ended = before.n_ended()
    n_sealed = sum(is_sealed(one) for _, one in sound)
    health = Health(len(sound), n_sealed, tuple(faults), n_ended or replay.n_ended())
    return b"".join(one for _, one in sound), health


def _put_right(lines: Sequence[bytes], number: int) -> tuple[list[bytes], int, str]:
    """Returns what a damaged line was, how many lines it takes the place of, and how it was done.

    The words are empty where it cannot be put right.
    """
    line = lines[number]
    if not line.endswith(b"\n"):
        kept = whole_part(line)
        if not kept:
            return [], 1, "dropped, since it was cut short"
        return ([], 1, "") if fault_of(kept) else ([kept], 1, "given the end of its line")
    if (one := with_one_bit_back(line)) is not None:
        return [one], 1, "one bit was changed back"
    if number + 1 < len(lines) and (one := rejoined(line, lines[number + 1])) is not None:
        return [one], 2, "one bit was changed back"
    if two := parted(line):
        return two, 1, "one bit was changed back"
    return [], 1, ""


def _beside_copy(copy: bytes, mended: bytes, health: Health) -> tuple[bytes, Health]:
    """Returns a journal that is not as its copy begins: with the end that it has lost, or told."""
    whole, of_copy = _mended(copy)
    if of_copy.left is None and whole.startswith(mended):
        n_lost = of_copy.n_lines - health.n_lines
        reason = f"{n_lost:,} records that its last start has copied are gone"
        lost = Fault(health.n_lines + 1, len(mended), "its end", reason, "taken from the copy")
        return whole, replace(of_copy, faults=(*health.faults, lost))
    return mended, replace(health, differs=True)


def _from_copy(content: bytes, copy: bytes, mended: bytes, health: Health) -> tuple[bytes, Health]:
    """Returns the journal with its first part from a copy of it, where it is one and that helps."""
    last = copy[copy.rfind(b"\n", 0, -1) + 1 :]
    place = content.rfind(last)  # the copy may be longer or shorter than what is left of it
    first, rest = content[: len(copy)], content[len(copy) :]
    if place >= 0:
        first, rest = content[:place], content[place + len(last) :]
    known = set(copy.splitlines())
    n_foreign = sum(line not in known for line in first.splitlines())
    if n_foreign > sum(fault.place < len(first) for fault in health.faults) + 1:
        return mended, health
    again, better = _mended(copy + rest)
    n_left = sum(not fault.mended for fault in better.faults)
    if n_left >= sum(not fault.mended for fault in health.faults):
        return mended, health
    left = {fault.place for fault in better.faults if not fault.mended}
    faults = [
        fault
        if fault.mended or fault.place in left
        else replace(fault, mended="taken from the copy")
        for fault in health.faults
    ]
    return again, replace(better, faults=tuple(faults))


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}-{n}") if n else path for n in count())
    return next(name for name in names if not name.exists())
