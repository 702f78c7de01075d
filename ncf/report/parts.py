"""The results on test in parts, as the report shows them."""

from __future__ import annotations

from ncf.models.table import title
from ncf.protocol.metrics import Objective
from ncf.study.breakdown import Breakdown


def parts_table(breakdown: Breakdown) -> list[list[str]]:
    """Returns a header, and a row for each part that has a test item.

    A contestant's cell has the metric of the objective on the sampled candidates, and after the
    stroke that over the full catalogue.
    """
    parts = [part for part in breakdown.parts if part.n > 0]
    names = [*breakdown.coverage]
    rows = [["by", "part", "test items", *map(title, names)]]
    shown = ""
    for part in parts:
        cells = (" / ".join(f"{value:.4f}" for value in part.metrics[name]) for name in names)
        rows.append([part.by if part.by != shown else "", part.name, f"{part.n:,}", *cells])
        shown = part.by
    return rows


def parts_note(breakdown: Breakdown, objective: Objective) -> str:
    """Returns what the table shows, and what the lists cover, in sentences."""
    covered = ", ".join(f"{title(name)} {share:.1%}" for name, share in breakdown.coverage.items())
    return (
        f"Test {objective.sampled.label} on the sampled candidates / over the full catalogue. "
        "A part of few items tells little. "
        f"Coverage: of all items, the lists of {objective.k} of {breakdown.n_listed:,} "
        f"users hold at least once: {covered}."
    )
