"""All runs that a query finds, which MLflow gives page by page."""

from __future__ import annotations

from collections.abc import Sequence

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

_PAGE = 1000


def all_runs(
    client: MlflowClient, experiments: Sequence[str], query: str, view: int = ViewType.ACTIVE_ONLY
) -> list[Run]:
    """Returns the runs of experiments that a query in MLflow's language finds.

    Args:
        client: A client of the store.
        experiments: The ids of the experiments.
        query: The query.
        view: Which runs: those in use, or those in MLflow's bin.
    """
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs([*experiments], query, view, _PAGE, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs
