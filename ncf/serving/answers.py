"""What a model answers: lists of items for one user or one item, also as a pandas table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Recommendations:
    """The answer for one user, best first; `known` is False where popularity answered."""

    user_id: str
    item_ids: list[Any]
    scores: list[float]
    titles: list[str]
    known: bool

    def rows(self) -> list[tuple[str, bool, int, Any, float, str]]:
        """Returns user_id, known, rank (from 1), item_id, score and title of each item."""
        ranked = enumerate(zip(self.item_ids, self.scores, self.titles, strict=True), start=1)
        return [(self.user_id, self.known, rank, *of_item) for rank, of_item in ranked]


@dataclass(frozen=True)
class SimilarItems:
    """The items most like one item, best first; scores are cosines, or weights of that item."""

    item_id: str
    item_ids: list[Any]
    scores: list[float]
    titles: list[str]


COLUMNS = ("user_id", "known", "rank", "item_id", "score", "title")  # of `Recommendations.rows`


def as_table(answers: Sequence[Recommendations]) -> pd.DataFrame:
    """Returns a row for each listed item, in the order of the answers and their ranks."""
    import pandas as pd

    return pd.DataFrame([row for answer in answers for row in answer.rows()], columns=[*COLUMNS])
