"""Prints one JSON line: pairs per second of Cornac's GMF on a file of ratings (`u.data`).

    python experiments/benchmarks/peer_cornac.py U.DATA

Runs in Cornac's own environment. Start-up is taken out as the difference of two lengths of run.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import cornac

N_NEGATIVES = 4


def main(path: str) -> None:
    """Trains for 1 and for 3 epochs, with the batch size that Cornac has by itself."""
    with open(path) as file:
        rows = [line.split("\t")[:3] for line in file]
    data = cornac.data.Dataset.from_uir(
        [(user, item, float(rating)) for user, item, rating in rows]
    )
    seconds = {}
    for epochs in (1, 3):
        model = cornac.models.GMF(
            num_factors=32,
            num_neg=N_NEGATIVES,
            num_epochs=epochs,
            backend="pytorch",
            seed=1,
            verbose=False,
        )
        start = time.perf_counter()
        model.fit(data)
        seconds[epochs] = time.perf_counter() - start
    pairs = len(rows) * (1 + N_NEGATIVES)
    rate = 2 * pairs / (seconds[3] - seconds[1])
    print(json.dumps({"version": version("cornac"), "samples_per_second": rate}))


if __name__ == "__main__":
    main(sys.argv[1])
