"""A client of MLflow that asks, before each request, whether the request may still be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from mlflow import MlflowClient


def checked_first(client: MlflowClient, check: Callable[[], None]) -> MlflowClient:
    """Returns a client that calls `check` before each request, which an error of it prevents."""
    return cast(MlflowClient, _Checked(client, check))


class _Checked:
    """A client whose methods call a function first."""

    def __init__(self, client: MlflowClient, check: Callable[[], None]) -> None:
        self._client = client
        self._check = check

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*values: Any, **named: Any) -> Any:
            self._check()
            return found(*values, **named)

        return call
