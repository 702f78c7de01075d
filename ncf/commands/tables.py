"""The printing of rows: a table on a terminal, CSV elsewhere, JSON where it is asked for."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

from ncf.serving.answers import COLUMNS, Recommendations

_NARROWEST = 20  # characters that a column is given even where the terminal has no room


def aligned(rows: Sequence[Sequence[str]], is_text: Sequence[bool]) -> list[str]:
    """Returns a line for each row of cells, with the columns aligned.

    Args:
        rows: The rows, all with the same number of cells.
        is_text: For each column, whether it is text and aligned to the left; numbers are aligned
            to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, is_text, strict=True)
        ).rstrip()
        for row in rows
    ]


def for_terminal(rows: Sequence[Sequence[str]], is_text: Sequence[bool], indent: str) -> list[str]:
    """Returns the lines of a table as `aligned` does, or as `in_width` where a terminal is narrow.

    A cell without a header belongs to the cell before it, and stays beside it.

    Args:
        rows: The header and the rows, all with the same number of cells.
        is_text: For each column, whether it is text.
        indent: What each line begins with.
    """
    lines = [f"{indent}{line}" for line in aligned(rows, is_text)]
    width = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or max(map(len, lines)) <= width:
        return lines
    first, *others = zip(*rows, strict=True)
    columns, are_text = [first], [is_text[0]]
    for column, is_left in zip(others, is_text[1:], strict=True):
        if column[0]:
            columns.append(column)
            are_text.append(is_left)
        else:
            pairs = zip(columns[-1], column, strict=True)
            columns[-1] = tuple(" ".join(filter(None, pair)) for pair in pairs)
    joined = [*zip(*columns, strict=True)]
    return [f"{indent}{line}".rstrip() for line in in_width(joined, width - len(indent), are_text)]


def in_width(
    rows: Sequence[Sequence[str]], width: int, is_text: Sequence[bool] | None = None
) -> list[str]:
    """Returns the lines of a table that fits into a width, so that no terminal breaks a number.

    Columns that do not fit stand below the others, each time with the first column. A cell that is
    too wide by itself is wrapped between its words.

    Args:
        rows: The header and the rows, all with the same number of cells.
        width: The number of characters of a line.
        is_text: For each column, whether it is text; None means that all are.
    """
    first, *others = zip(*rows, strict=True)
    first_is_text, *others_are_text = is_text or [True] * len(rows[0])
    widest = max(map(len, first))
    room = max(width - widest - 2, _NARROWEST)
    blocks: list[list[Sequence[str]]] = [[]]
    alignments = [[first_is_text]]
    left = room
    for column, is_left in zip(others, others_are_text, strict=True):
        needed = min(max(map(len, column)), room) + 2
        if blocks[-1] and needed > left + 2:
            blocks.append([])
            alignments.append([first_is_text])
            left = room
        blocks[-1].append(column)
        alignments[-1].append(is_left)
        left -= needed
    lines: list[str] = []
    for block, alignment in zip(blocks, alignments, strict=True):
        cells = [line for row in zip(first, *block, strict=True) for line in _wrapped(row, room)]
        lines += ["", *aligned(cells, alignment)]
    return lines[1:]


def _wrapped(row: Sequence[str], width: int) -> list[list[str]]:
    """Returns the lines of a row whose cells are at most so wide, where they have blanks."""
    parts = [[row[0]], *(textwrap.wrap(cell, width, break_long_words=False) for cell in row[1:])]
    return [[*line] for line in zip_longest(*parts, fillvalue="")]


def show_rows(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Prints rows that have the same columns; for no rows, nothing or the empty list of JSON."""
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
    elif not rows:
        return
    elif sys.stdout.isatty():
        cells = [[*rows[0]], *([str(cell) for cell in row.values()] for row in rows)]
        print("\n".join(in_width(cells, shutil.get_terminal_size().columns)))
    else:
        writer = csv.DictWriter(sys.stdout, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def show_recommendations(answers: Sequence[Recommendations], as_json: bool) -> None:
    """Prints the recommendations of each user."""
    if as_json:
        show_rows([asdict(answer) for answer in answers], as_json)
    elif sys.stdout.isatty():
        for answer in answers:
            known = "" if answer.known else " (unknown user: the most popular items)"
            print(f"user {answer.user_id}{known}" if answer.user_id else "a user of these items")
            width = max((len(str(item_id)) for item_id in answer.item_ids), default=0)
            for _, _, rank, item_id, score, title in answer.rows():
                print(f"{rank:4}  {item_id!s:>{width}}  {score:.3f}  {title}".rstrip())
    else:
        lines = [row for answer in answers for row in answer.rows()]
        show_rows([dict(zip(COLUMNS, line, strict=True)) for line in lines], as_json)
