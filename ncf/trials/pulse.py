"""Whether a worker process is alive: what is stopped, or waits for a disk that hangs, is not.

A worker sends a beat every second, from a thread. Compiled code that keeps Python's lock holds the
beats back for as long as it takes, but it spends processor time meanwhile, which is as good a sign.
"""

from __future__ import annotations

import time
from contextlib import suppress

import psutil

BEAT_SECONDS = 1.0  # between two beats of a worker
WORD_SECONDS = 10.0  # of silence, after which it is told of
PATIENCE = 30.0  # seconds of silence, after which a worker counts as dead
# Less than the slowest process gets in `PATIENCE` if it can compute at all, and more than a system
# counts for one that is stopped.
_PROCESSOR_SECONDS = 0.02
# Seconds between two looks. Of more than the longest, only so many count as silence: this process
# may itself have been stopped, or busy, so that the silence was its own.
_SHORTEST_LOOK, _LONGEST_LOOK = 0.5, 2.0


class Pulse:
    """The silence of one process: how long it has given no sign of life, in seconds."""

    def __init__(self, pid: int) -> None:
        self.silence = 0.0
        self._process = psutil.Process(pid)
        self._looked_at = time.monotonic()
        self._processor_seconds = 0.0  # as they were at the last sign of life

    def beat(self) -> None:
        """Notes a sign of life: something that the process has sent."""
        self.silence = 0.0
        self._looked_at = time.monotonic()

    def look(self) -> float:
        """Returns the silence until now, which is measured about once a second."""
        elapsed = time.monotonic() - self._looked_at
        if elapsed < _SHORTEST_LOOK:
            return self.silence
        self._looked_at += elapsed
        used = self._processor_seconds
        with suppress(psutil.Error):  # it has ended, which its pipe tells of
            times = self._process.cpu_times()
            used = times.user + times.system
        if used - self._processor_seconds >= _PROCESSOR_SECONDS:
            self._processor_seconds = used
            self.silence = 0.0
        else:
            self.silence += min(elapsed, _LONGEST_LOOK)
        return self.silence
