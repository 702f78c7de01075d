"""What MLflow calls: rows of a table in, a row with a list of items for each of them out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .requests import check_request, items_of_cell

if TYPE_CHECKING:
    import pandas as pd

    from .answers import Recommendations
    from .recommender import Recommender

# `only` is a list whose absence is told from an empty one, for which MLflow's params have no None.
NOT_GIVEN = [None]
DEFAULTS: Mapping[str, Any] = {
    "k": 10,
    "include_seen": False,
    "only": NOT_GIVEN,
    "exclude": [],
}
_LOGGER = "mlflow.models.utils"  # says which params MLflow leaves out


def answer(
    recommender: Recommender, rows: pd.DataFrame, params: Mapping[str, Any] | None
) -> pd.DataFrame:
    """Returns user_id, item_ids, scores, titles and known for each row.

    Args:
        recommender: The model.
        rows: A column `user_id`, `item_ids` (lists, or text with commas) or both.
        params: Those of `DEFAULTS`, by which they are replaced where they are missing.

    Raises:
        MlflowException: What is asked breaks a rule. Of other errors a server would send the
            traceback.
    """
    import pandas as pd
    from mlflow.exceptions import MlflowException

    options = {**DEFAULTS, **(params or {})}
    try:
        if unknown := sorted(set(options) - set(DEFAULTS)):
            raise ValueError(_unknown(unknown))
        if options["k"] is None:
            raise ValueError("k must be an integer, but got None")
        if not {"user_id", "item_ids"} & set(rows):
            raise ValueError("rows need a user_id, item_ids or both")
        if options["only"] == NOT_GIVEN:
            options["only"] = None
        options["exclude"] = options["exclude"] or []
        options["include_seen"] = bool(options["include_seen"])
        n_items, listed = recommender.scorer.n_items, (options["only"], options["exclude"])
        check_request(rows, options["k"], n_items, *listed)
        answers = _answers(recommender, rows, options)
    except ValueError as error:
        raise MlflowException.invalid_parameter_value(f"{error}") from error
    return pd.DataFrame(
        {
            "user_id": [answer.user_id for answer in answers],
            "item_ids": [answer.item_ids for answer in answers],
            "scores": [answer.scores for answer in answers],
            "titles": [answer.titles for answer in answers],
            "known": [answer.known for answer in answers],
        }
    )


def _answers(
    recommender: Recommender, rows: pd.DataFrame, options: Mapping[str, Any]
) -> list[Recommendations]:
    users = own_ids(rows["user_id"]) if "user_id" in rows else [None] * len(rows)
    if "item_ids" not in rows:
        return recommender.recommend(users, **options)
    answers: list[Recommendations] = []
    for user_id, cell in zip(users, rows["item_ids"].tolist(), strict=True):
        items = items_of_cell(cell)
        asked = [user_id] if user_id is not None or items is None else []
        answers += recommender.recommend(asked, items=items, **options)
    return answers


def own_ids(column: pd.Series[Any]) -> list[Any]:
    """Returns a column's ids, None for a gap.

    Integers come back as such from a column of floats, which pandas makes of a column with gaps.
    """
    is_gap = column.isna().tolist()
    values = column.tolist()
    if column.dtype.kind == "f":
        values = [int(value) if value == np.floor(value) else value for value in values]
    return [None if gap else value for gap, value in zip(is_gap, values, strict=True)]


class _RefuseUnknown(logging.Filter):
    """Raises where MLflow would only log that it leaves out a param of a model of this program.

    MLflow takes such params away before the model is called, so that its warning is the one place
    that knows of them. A model of another program has other params, which the warning names. Other
    records pass where they would without this filter.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        from mlflow.exceptions import MlflowException

        start, separator, supported = record.getMessage().partition(" are ignored for inference.")
        known = supported.partition("}")[0]
        if separator and all(repr(name) in known for name in DEFAULTS):
            names = start.partition("[")[2].rstrip("]")
            raise MlflowException.invalid_parameter_value(_unknown([names]))
        parent = logging.getLogger(record.name).parent
        return parent is None or record.levelno >= parent.getEffectiveLevel()


def refuse_unknown_params() -> None:
    """Makes an unknown param an error in this process, of models of this program alone."""
    logger = logging.getLogger(_LOGGER)
    if any(type(one).__name__ == _RefuseUnknown.__name__ for one in logger.filters):
        return  # by this code, or by the copy of it that came with another model
    logger.addFilter(_RefuseUnknown())
    if logger.level == logging.NOTSET:  # so that the filter is asked even where MLflow is silenced
        logger.setLevel(logging.DEBUG)


def _unknown(names: list[str]) -> str:
    return f"unknown params: {', '.join(names)}; known are {', '.join(DEFAULTS)}"
