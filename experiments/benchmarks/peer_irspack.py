"""Prints one JSON line: the curve of time and ranks of irspack's iALS on one core.

    python experiments/benchmarks/peer_irspack.py DATA.npz

Runs in irspack's own environment. DATA.npz has the train matrix (indptr, items, n_items) and, for
the V evaluated users, `users` (V,) and `candidates` (V, C) with the held-out item first. Evaluation
is not timed.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import scipy.sparse as sps
from irspack import IALSRecommender

N_EPOCHS = 16


def main(path: str) -> None:
    """Trains with 64 factors and prints, after each epoch, seconds so far and the mean nDCG@10."""
    data = np.load(path)
    shape = (len(data["indptr"]) - 1, int(data["n_items"]))
    ones = np.ones(len(data["items"]), np.float64)
    matrix = sps.csr_matrix((ones, data["items"], data["indptr"]), shape=shape)
    users, candidates = data["users"], data["candidates"]
    start = time.perf_counter()
    model = IALSRecommender(matrix, n_components=64, alpha0=0.2, reg=0.002, n_threads=1)
    model.start_learning()
    seconds, curve = time.perf_counter() - start, []
    for _ in range(N_EPOCHS):
        start = time.perf_counter()
        model.run_epoch()
        seconds += time.perf_counter() - start
        user_factors, item_factors = model.get_user_embedding(), model.get_item_embedding()
        scores = np.einsum("vd,vcd->vc", user_factors[users], item_factors[candidates])
        ranks = (~(scores < scores[:, :1])).sum(axis=1)  # a tie counts against the positive
        ndcg = np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0).mean()
        curve.append((seconds, float(ndcg)))
    print(json.dumps({"version": version("irspack"), "curve": curve}))


if __name__ == "__main__":
    main(sys.argv[1])
