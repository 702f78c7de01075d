"""Where a study's interactions come from, how they are read, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ncf.data.columns import parse_columns
from ncf.data.datasets import load_interactions
from ncf.data.titles import with_titles
from ncf.protocol import given_split
from ncf.protocol.choice import SplitChoice, SplitData, parse_split, read_given, split_as


@dataclass(frozen=True)
class Source:
    """Where the interactions come from, how the file is read, and how they are split.

    Attributes:
        data: Name or path of the data set.
        columns: The value of the option `--columns`, as it was written.
        min_rating: The lowest rating that counts as an interaction.
        split: The split of data that come without one.
        titles: A file with the titles of the items; None means those beside the data, if any.
        drop_empty: Whether rows with an empty cell are left out.
    """

    data: str
    columns: str | None = None
    min_rating: float | None = None
    split: SplitChoice = field(default_factory=SplitChoice)
    titles: str | None = None
    drop_empty: bool = False

    @property
    def params(self) -> dict[str, Any]:
        """What tells this source from the others of its data, for `source_of` to read again."""
        given = {"columns": self.columns, "min_rating": self.min_rating}
        params = {name: value for name, value in given.items() if value is not None}
        if self.drop_empty:
            params["drop_empty"] = True
        if self.split.quantiles is not None:
            params |= {"split_option": self.split.option, "targets": self.split.targets}
        return {"data_source": self.data, **params}


def source_of(params: Mapping[str, str]) -> Source:
    """Returns the source that a study's run has among its parameters."""
    min_rating = params.get("min_rating")
    return Source(
        params["data_source"],
        params.get("columns"),
        None if min_rating is None else float(min_rating),
        parse_split(params.get("split_option", "leave-one-out"), params.get("targets")),
        drop_empty="drop_empty" in params,
    )


def read(source: Source) -> SplitData:
    """Reads a data set and splits it, unless it comes with its split.

    Raises:
        ValueError: The data break a rule.
        OSError: A file is not there, or cannot be read or downloaded.
    """
    train_file = given_split.find(source.data)
    columns = parse_columns(source.columns)
    if train_file is None:
        read_as = columns, source.min_rating, source.drop_empty
        interactions = load_interactions(source.data, *read_as)
        if source.titles is not None:
            interactions = with_titles(interactions, Path(source.titles), columns.item)
        return split_as(source.split, interactions)
    is_read_otherwise = bool(columns.given) or source.min_rating is not None or source.drop_empty
    given = read_given(train_file, source.split, is_read_otherwise)
    if source.titles is not None:
        titled = with_titles(given.interactions, Path(source.titles), columns.item)
        given = replace(given, interactions=titled)
    return given
