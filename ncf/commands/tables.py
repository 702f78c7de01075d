"""The printing of rows: a table on a terminal, CSV elsewhere, JSON where it is asked for."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ncf.serving.answers import COLUMNS, Recommendations


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


def show_rows(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Prints rows that have the same columns; for no rows, nothing or the empty list of JSON."""
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
    elif not rows:
        return
    elif sys.stdout.isatty():
        cells = [[*rows[0]], *([str(cell) for cell in row.values()] for row in rows)]
        print("\n".join(aligned(cells, [True] * len(rows[0]))))
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
