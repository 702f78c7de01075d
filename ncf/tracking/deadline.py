"""A deadline for every request to a tracking server, however slowly the server answers.

MLflow's own timeout limits the silence between two bytes alone, so that a server which sends one a
second is waited for without end. A request that is given up here is, to whoever sent it, one whose
answer was lost. MLFLOW_HTTP_REQUEST_TIMEOUT sets the seconds that it is given.
"""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import Future, wait
from typing import Any

import requests

from ncf.redaction import redacted

SECONDS = 60.0  # for an answer
WORD_SECONDS = 10.0  # after which it is said what is being waited for
_BYTES_PER_SECOND = 100_000  # of the slowest line that an upload has time for
_send = requests.Session.send
_logger = logging.getLogger(__name__)


def guard() -> None:
    """Gives every request that this process sends from now on a deadline."""
    requests.Session.send = _send_in_time  # type: ignore[method-assign]


def _send_in_time(
    self: requests.Session, request: requests.PreparedRequest, **options: Any
) -> requests.Response:
    """Sends a request in a thread of its own, and waits for the answer until the deadline.

    Raises:
        ReadTimeout: There is no whole answer.
    """
    answer: Future[requests.Response] = Future()

    def ask() -> None:
        try:
            answer.set_result(_send(self, request, **options))
        except BaseException as error:  # of any kind: it is the waiting thread's
            answer.set_exception(error)

    seconds = float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", SECONDS))
    seconds += int(request.headers.get("Content-Length", 0)) / _BYTES_PER_SECOND
    word = min(WORD_SECONDS, seconds)
    what = f"{request.method} {redacted(str(request.url))}"
    threading.Thread(target=ask, daemon=True, name="request").start()
    if not wait([answer], word).done:
        _logger.warning(
            "waiting for the tracking server: %s, for %.0f s so far, at most %.0f s",
            what,
            word,
            seconds,
        )
        if not wait([answer], seconds - word).done:
            raise requests.exceptions.ReadTimeout(f"no whole answer in {seconds:.0f} s to {what}")
    return answer.result()
