"""A start from a truncated singular value decomposition of the train matrix.

With R the binary train matrix (U, I) and m, n the degrees of its users and items,

    diag(m)^-a  R  diag(n)^-a  ~  X diag(s) Y^T         the D largest singular values
    P = diag(m)^a X diag(s)^(1/2),   Q = diag(n)^a Y diag(s)^(1/2)

a = 1/2 would be the normalized adjacency of LightGCN (He et al., SIGIR 2020) and a = 0 PureSVD
(Cremonesi et al., RecSys 2010). On validation of ml-100k and ml-1m, a between 0.3 and 0.4 ranks
best, the former at D = 32 and the latter at D = 128. P and Q are then scaled, each to one root mean
square. With output weights of 1 and no biases, GMF ranks well before its first epoch.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

from ncf.data.files import write_whole
from ncf.protocol.splitting import History

DEGREE_EXPONENT = 0.4
_BLOCK = 1 << 20  # interactions at a time


def spectral_start(
    history: History, embedding_dim: int, folder: Path | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns user factors (U, D) and item factors (I, D) for a GMF whose output weights are 1.

    Their root mean square is 1. Same arguments, same factors, bit for bit, on one machine. Columns
    beyond the rank that the solver reaches, min(U, I) - 1, are small random numbers.

    Args:
        history: The training items.
        embedding_dim: D.
        folder: Where the factors of this history are kept: each D is computed once in a search, by
            whichever worker comes first.
    """
    if folder is None:
        factors = _factors(history, embedding_dim)
    else:
        file = folder / f"spectral-{embedding_dim}.npy"
        if not file.exists():
            buffer = io.BytesIO()
            np.save(buffer, _factors(history, embedding_dim), allow_pickle=False)
            write_whole(file, buffer.getbuffer())
        factors = np.load(file, mmap_mode="r", allow_pickle=False)
    return factors[: history.n_users], factors[history.n_users :]


def _factors(history: History, embedding_dim: int) -> NDArray[np.float32]:
    """Returns user factors over item factors, (U + I, D)."""
    n_users, n_items = history.n_users, history.n_items
    user_scale = np.maximum(np.diff(history.indptr), 1) ** DEGREE_EXPONENT
    item_scale = np.maximum(history.popularity, 1) ** DEGREE_EXPONENT
    values = np.empty(len(history.items), np.float32)
    for start in range(0, len(values), _BLOCK):  # in float64, which all at once would be twice this
        block = slice(start, start + _BLOCK)
        values[block] = 1 / (user_scale[history.user_of[block]] * item_scale[history.items[block]])
    matrix = csr_array((values, history.items, history.indptr), shape=(n_users, n_items))
    rng = np.random.default_rng(0)
    rank = min(embedding_dim, min(matrix.shape) - 1)  # ARPACK cannot find the last one
    first = rng.standard_normal(min(matrix.shape), dtype=np.float32)
    factors = rng.standard_normal((n_users + n_items, embedding_dim), dtype=np.float32)
    factors *= 0.01
    if rank > 0:
        left, singular_values, right = svds(matrix, k=rank, v0=first)
        del matrix, values  # which for large data are as large as the factors
        right = right.T
        order = np.argsort(-singular_values)
        # a pair of singular vectors has a sign of its choice: here each item vector's largest is +
        signs = np.sign(right[np.abs(right).argmax(axis=0), np.arange(rank)])
        half = np.sqrt(singular_values) * signs
        for rows, vectors, scale in (
            (factors[:n_users], left, user_scale),
            (factors[n_users:], right, item_scale),
        ):
            spectral = scale[:, None] * vectors
            spectral *= half
            spectral = spectral[:, order]
            rows[:, :rank] = spectral / np.sqrt(np.mean(spectral**2))
    return factors
