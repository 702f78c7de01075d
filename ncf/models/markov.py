"""Markov counts: what came soon after the user's last items, of all users; nothing is learned.

With the items of each user oldest first,

    C_ji       = sum over users and lags l = 1 ... LAGS of l^-lag_decay [i came l after j]
    S_ji       = C_ji / (row_j^row_power column_i^column_power)
    score(u, i) = sum over places a = 1 ... LAST of a^-decay S_ji, j the a-th latest item of u

where row_j and column_i are the sums of C over the row and the column. It is a Markov chain of many
steps (Rendle, Freudenthaler & Schmidt-Thieme, WWW 2010, learn the chain of one in factors). A row
power of 1 makes probabilities of a row; a column power marks popular items down.

C is kept sparse where that takes fewer bytes, which it does for large catalogues.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ncf.models.model import Epoch, make_plain, require
from ncf.protocol.rows import bounds_of, grouped
from ncf.protocol.splitting import History
from ncf.serving.item_item import DenseItemItem, ItemItem

if TYPE_CHECKING:
    import optuna
    from scipy.sparse import csr_array

LAGS = 30  # how far behind an item those are that follow it
LAST = 50  # of a user's items, by which others are scored
MOST_BYTES = 4 * 20_000**2  # of the counts, as of `ncf.models.ease`

BLOCK_PLACES = 500_000  # whose following items are counted at a time: 200 MB, and their sorting

Values = NDArray[np.float32]


@dataclass(frozen=True)
class MarkovHyperparameters:
    """One setting of the counts.

    Attributes:
        lag_decay: By which an item that comes l after another counts in proportion to l^-lag_decay.
        row_power: Power of the sum of what follows an item, by which its counts are divided.
        column_power: Power of the sum of what an item follows, by which its counts are divided.
        decay: By which a user's a-th latest item counts in proportion to a^-decay.
    """

    lag_decay: float = 0.5
    row_power: float = 0.5
    column_power: float = 0.5
    decay: float = 1.0

    def __post_init__(self) -> None:
        make_plain(self)
        for name in ("lag_decay", "row_power", "column_power", "decay"):
            require(getattr(self, name) >= 0, f"{name} >= 0", getattr(self, name))


def check_size(history: History) -> None:
    """Checks that the counts can be kept, dense or sparse.

    Raises:
        ValueError: They take more than `MOST_BYTES`.
    """
    n_bytes = min(_sparse_bytes(history), _dense_bytes(history))
    if n_bytes > MOST_BYTES:
        raise ValueError(
            f"Markov counts of {history.n_items:,} items take up to {n_bytes / 1e9:.1f} GB, and "
            f"are left out above {MOST_BYTES / 1e9:.1f} GB, and so is the mixture with them: name "
            "the other --baselines, without markov and mixture"
        )


def fit(
    history: History,
    setting: MarkovHyperparameters,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[Epoch]:
    """Yields the counts as its only epoch; nothing in them is random.

    Raises:
        ValueError: They are too large, or the history does not know the order of its items.
    """
    if history.by_time is None:
        raise ValueError("Markov counts need a history with `by_time`, the order of its items")
    check_size(history)
    start = time.perf_counter()
    by_lag = (np.arange(1, LAGS + 1) ** -setting.lag_decay).astype(np.float32)
    by_place = (np.arange(1, LAST + 1) ** -setting.decay).astype(np.float32)
    last = (history.indptr, history.by_time, by_place)
    scorer: DenseItemItem | ItemItem
    if _sparse_bytes(history) < _dense_bytes(history):
        rows = _following(history, history.by_time, by_lag)
        row_factor, column_factor = _factors(rows, setting)
        rows.data *= np.repeat(row_factor, np.diff(rows.indptr)) * column_factor[rows.indices]
        scorer = ItemItem(*last, rows.indptr, rows.indices, rows.data)
    else:
        from ncf.models.pairs import following  # numba, which the coordinator does without

        counts = following(history.indptr, history.by_time, by_lag, history.n_items)
        row_factor, column_factor = _factors(counts, setting)
        counts *= row_factor[:, None]
        counts *= column_factor
        scorer = DenseItemItem(*last, counts)
    yield Epoch(1, 0.0, time.perf_counter() - start, len(history.items), scorer)


def space(trial: optuna.Trial) -> MarkovHyperparameters:
    """Suggests one setting of the counts."""
    return MarkovHyperparameters(
        lag_decay=trial.suggest_float("lag_decay", 0, 2),
        row_power=trial.suggest_float("row_power", 0, 1),
        column_power=trial.suggest_float("column_power", 0, 1),
        decay=trial.suggest_float("decay", 0, 2),
    )


def _following(history: History, by_time: NDArray[np.int32], by_lag: Values) -> csr_array:
    """Returns C (I, I) as compressed sparse rows, of which some are counted at a time."""
    from scipy.sparse import vstack

    bounds = bounds_of(by_time, history.n_items)
    places = grouped(by_time, np.arange(len(by_time), dtype=np.int32), bounds)  # of each item
    starts = [0]
    while starts[-1] < history.n_items:
        enough = bounds[starts[-1]] + BLOCK_PLACES
        starts.append(max(starts[-1] + 1, int(np.searchsorted(bounds, enough, side="right")) - 1))
    parts = [
        _rows(history, by_time, by_lag, places[bounds[first] : bounds[stop]], first, stop)
        for first, stop in pairwise(starts)
    ]
    counts: csr_array = vstack(parts, format="csr")
    return counts


def _rows(
    history: History,
    by_time: NDArray[np.int32],
    by_lag: Values,
    places: NDArray[np.int32],
    first: int,
    stop: int,
) -> csr_array:
    """Returns the rows of C of the items from `first` to before `stop`, which are at `places`."""
    from scipy.sparse import coo_array

    n_after = history.indptr[history.user_of[places] + 1] - 1 - places
    before: list[NDArray[np.int32]] = []
    after: list[NDArray[np.int32]] = []
    for lag in range(1, len(by_lag) + 1):
        of_lag = places[n_after >= lag]
        before.append(by_time[of_lag] - np.int32(first))
        after.append(by_time[of_lag + np.int32(lag)])
    values = np.repeat(by_lag, [len(one) for one in before])
    pairs = (np.concatenate(before), np.concatenate(after))
    return coo_array((values, pairs), shape=(stop - first, history.n_items)).tocsr()


def _factors(counts: csr_array | Values, setting: MarkovHyperparameters) -> tuple[Values, Values]:
    """Returns what the rows and the columns of the counts are multiplied by, each (I,)."""
    rows, columns = (np.asarray(counts.sum(axis=axis, dtype=np.float64)) for axis in (1, 0))
    return _power(rows, setting.row_power), _power(columns, setting.column_power)


def _power(sums: NDArray[np.float64], power: float) -> Values:
    """Returns the sums to the negative power; 1 where a sum is 0, as all its counts are."""
    return np.asarray(np.where(sums > 0, sums, 1) ** -power, np.float32)


def _sparse_bytes(history: History) -> int:
    """Returns at most how many bytes the sparse counts take: each pair of places has a cell."""
    lengths = np.diff(history.indptr)
    inner = np.minimum(lengths, LAGS)  # the items that have fewer than LAGS after them
    n_pairs = int((inner * (inner - 1) // 2 + (lengths - inner) * LAGS).sum())
    return 12 * n_pairs


def _dense_bytes(history: History) -> int:
    return 4 * history.n_items**2
