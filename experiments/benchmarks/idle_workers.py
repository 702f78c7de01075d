"""How busy workers are kept by a lag in numbers of trials, and by one in virtual time.

`python experiments/benchmarks/idle_workers.py` computes it for trials whose seconds and epochs are
drawn from those of a search: a recorded one with `--journal`, or else ones like those of ml-100k.
By the rule of `ncf.study.proposals`, trial t waits for all trials up to t - lag. By the other rule
there are as many virtual workers as the lag has trials, on which a trial takes as long as it has
epochs, and trial t waits for those t - lag + 1 trials that end first there. That one depends on the
record alone too, and a long trial does not hold up all that come after it.
"""

from __future__ import annotations

import argparse
import heapq
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def by_number(seconds: Values, n_workers: int, lag: int) -> float:
    """Returns the share of the time in which the workers are busy, by the rule of this package."""
    ends: list[float] = []
    free = [0.0] * n_workers  # when each worker is
    start, known = 0.0, 0.0  # of the last trial; when all that the next is decided from have ended
    for number, duration in enumerate(seconds):
        if number >= lag:
            known = max(known, ends[number - lag])
        start = max(start, known, heapq.heappop(free))
        ends.append(start + duration)
        heapq.heappush(free, ends[-1])
    return float(seconds.sum()) / (n_workers * max(ends))


def by_virtual_time(seconds: Values, epochs: Values, n_workers: int, lag: int) -> float:
    """Returns the same by the other rule; of a running trial its ended epochs are known."""
    starts: list[float] = []
    free = [0.0] * n_workers
    running: dict[int, float] = {}  # on the virtual workers: when each trial began there
    start, begins = 0.0, 0.0
    for number, duration in enumerate(seconds):
        known = 0.0
        if len(running) == lag:
            first = min(running, key=lambda n: (running[n] + epochs[n], n))
            begins = running[first] + epochs[first]
            for other, begun in running.items():
                # It does not end before `first` if it has still to end this many epochs.
                n_epochs = max(1.0, begins - begun + (other < first))
                share = min(1.0, n_epochs / epochs[other])
                if other == first or n_epochs > 1:
                    known = max(known, starts[other] + share * seconds[other])
            del running[first]
        running[number] = begins
        start = max(start, known, heapq.heappop(free))
        starts.append(start)
        heapq.heappush(free, start + duration)
    return float(seconds.sum()) / (n_workers * max(free))


def recorded(path: Path, study: str) -> tuple[Values, Values]:
    """Returns the seconds and the epochs of the trials of a journal."""
    outcomes, names, owners = [], list[str](), list[str]()
    for record in map(json.loads, path.read_text().splitlines()):
        if record["op_code"] == 0:
            names.append(record["study_name"])
        elif record["op_code"] == 4:
            owners.append(names[record["study_id"]])
        elif "outcome" in record.get("user_attr", {}) and owners[record["trial_id"]] == study:
            outcomes.append(record["user_attr"]["outcome"])
    seconds = [outcome["seconds"] for outcome in outcomes]
    return np.array(seconds), np.array([float(outcome["epochs"]) for outcome in outcomes])


def like_ml_100k(n: int, rng: np.random.Generator) -> tuple[Values, Values]:
    """Returns seconds and epochs with the spread of trials on ml-100k."""
    epochs = np.clip(np.exp(rng.normal(np.log(13.0), 0.55, n)).round(), 5.0, 30.0)
    return epochs * rng.lognormal(0.0, 0.32, n), epochs


def main() -> None:
    """Prints a row for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--study", default="ml-100k")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    journal: Path | None = options.journal
    pool = recorded(journal, options.study) if journal else like_ml_100k(10_000, rng)
    print("workers   lag/workers   by number   by virtual time")
    for n_workers in (2, 4, 8, 16, 32, 100):
        picked = rng.integers(len(pool[0]), size=max(1000, 40 * n_workers))
        seconds, epochs = pool[0][picked], pool[1][picked]
        for lag in sorted({8, 16, n_workers, 2 * n_workers, 4 * n_workers}):
            if lag >= n_workers:
                print(
                    f"{n_workers:7}   lag {lag:7}   {by_number(seconds, n_workers, lag):9.2f}   "
                    f"{by_virtual_time(seconds, epochs, n_workers, lag):15.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
