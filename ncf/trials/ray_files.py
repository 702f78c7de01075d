"""Files of the coordinator's machine, which no node can read: what is sent, and what comes back."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import ray

from ncf.data.files import write_whole
from ncf.trials.messages import Event, Refit, Setback, Task
from ncf.trials.ray_task import Beside, Finished
from ncf.trials.worker import in_a_line

_WRITE_SECONDS = 30.0  # for a folder that cannot be written; less than training again may take


class SentFiles:
    """Files that tasks need, of which the cluster is given each content once."""

    def __init__(self) -> None:
        self._sent: dict[str, Any] = {}

    def send(self, path: Path | None) -> Any:
        """Returns Ray's reference to the content of a file; None for none.

        Raises:
            OSError: The file cannot be read.
        """
        if path is None:
            return None
        content = path.read_bytes()
        name = hashlib.sha256(content).hexdigest()[:16]
        if name not in self._sent:
            self._sent[name] = ray.put(Beside(name, content))
        return self._sent[name]


def kept(message: Finished, task: Task | Refit) -> Event:
    """Writes the weights that came with an outcome; returns the outcome, or why that failed."""
    try:
        if task.weights is not None and message.weights is not None:
            write_whole(task.weights, message.weights.data, otherwise=_WRITE_SECONDS)
    except OSError as error:
        return Setback(task.number, in_a_line(error))
    return message.outcome
