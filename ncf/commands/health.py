"""The command `check`: what is damaged in a study's record, and what was put right."""

from __future__ import annotations

import shlex
from pathlib import Path

import optuna

from ncf.study.check import Health, check
from ncf.study.journal_file import backup_of


def run(path: Path, cut: bool) -> None:
    """Checks a journal and prints what was found.

    Raises:
        ValueError: There is no such journal, or a record in it is damaged and is left so.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    health = check(path, cut)
    print("\n".join(in_words(path, health)))
    if health.left is not None:
        raise ValueError(_remedy(path, health))
    if health.differs:
        backup = backup_of(path)
        raise ValueError(
            f"{path}: each record is whole, but it does not begin as {backup} does, which its last "
            "start has copied: records were lost, doubled or moved since. To go back to the copy, "
            f"end all searches and give `cp {shlex.quote(str(backup))} {shlex.quote(str(path))}`"
        )


def in_words(path: Path, health: Health) -> list[str]:
    """Returns the lines that tell what a check has found."""
    lines = [
        f"{path}: line {fault.line} ({fault.what}): {fault.reason}: {fault.mended or 'damaged'}"
        for fault in health.faults
    ]
    trials = ", ".join(f"{name} ({n})" for name, n in health.n_ended.items())
    sealed = f"{health.n_sealed:,} of them with a checksum"
    if health.left is None:
        lines.append(f"{path}: {health.n_lines:,} records, {sealed}, are whole")
        lines.append(f"studies, and their trials that have ended: {trials or 'none'}")
    if health.original is not None:
        lines.append(f"the file as it was is {health.original}")
    return lines


def _remedy(path: Path, health: Health) -> str:
    """Returns what can be done about the record that is left damaged."""
    left = health.left
    trials = ", ".join(f"{name} ({n})" for name, n in health.n_ended.items())
    backup = backup_of(path)
    copy = f"; the copy of the last start is {backup}" if backup.exists() else ""
    return (
        f"line {left.line if left else 0} cannot be put right{copy}. `python -m ncf check "
        f"--storage {shlex.quote(str(path))} --cut` cuts it off with all that follows; before it "
        f"have ended, of each study: {trials or 'no trials'}. The search command then trains the "
        "others again, to the same results"
    )
