"""Item-kNN (Sarwar et al., WWW 2001): items like those that the user has.

score(u, i) = sum of r_uj s(i, j) over the k items j most similar to i that u has in train. s is the
cosine of two items' columns of the train matrix ("cosine"), the same after weighting each user by
log(I / (1 + their items)) ("tfidf"), or the product of the columns weighted by BM25 ("bm25"). To
keep the k nearest of the item that is scored, and not of those in the history, gives 0.424 nDCG@10
in place of 0.384 (validation of ml-1m, cosine, k = 40).

r_uj is a^-recency for the a-th latest item of u, so that the model may use the order of time, and 1
where recency is 0. The neighbours are found by the library `implicit`, on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import numpy as np

from ncf.models.model import Epoch, make_plain, require
from ncf.protocol.splitting import History
from ncf.serving.item_item import ItemItem

if TYPE_CHECKING:
    import optuna

MOST_PAIRS = 120_000_000_000  # of which each setting takes a quarter of an hour, on one thread
_MOST_PAIRS_OF_ALL = 30_000_000_000  # of all settings of a large set together: four minutes

Similarity: TypeAlias = Literal["cosine", "tfidf", "bm25"]


@dataclass(frozen=True)
class ItemKNNHyperparameters:
    """One setting of item-kNN.

    Attributes:
        n_neighbors: k, the most similar other items by which an item is scored.
        similarity: How the columns of the train matrix are weighted.
        k1: How slowly repeated counts saturate in "bm25", which alone uses it.
        b: How much "bm25", which alone uses it, marks popular items down.
        recency: g, by which a user's a-th latest item counts in proportion to a^-g.
    """

    n_neighbors: int = 40
    similarity: Similarity = "tfidf"
    k1: float = 1.2
    b: float = 0.75
    recency: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)
        require(self.n_neighbors >= 1, "n_neighbors >= 1", self.n_neighbors)
        require(self.recency >= 0, "recency >= 0", self.recency)
        known = get_args(Similarity)
        require(self.similarity in known, f"similarity in {known}", self.similarity)


def check_size(history: History) -> None:
    """Checks that the similarities can be counted in a bounded time.

    Raises:
        ValueError: There are more pairs of items that a user has than `MOST_PAIRS`.
    """
    if (n_pairs := _n_pairs(history)) > MOST_PAIRS:
        raise ValueError(
            f"item-kNN counts {n_pairs / 1e9:,.0f} thousand million pairs of items that a user has "
            f"for each setting, which takes some {n_pairs * 7e-9 / 60:,.0f} minutes, and is left "
            f"out above {MOST_PAIRS / 1e9:,.0f}: name the other --baselines, without itemknn"
        )


def most_settings_of_large(history: History) -> int:
    """Returns how many settings are tried at most of a large set, at least 1."""
    return max(1, _MOST_PAIRS_OF_ALL // _n_pairs(history))


def _n_pairs(history: History) -> int:
    """Returns how many pairs of items the users have, of which a fit looks at each."""
    return int((np.diff(history.indptr) ** 2).sum())


def fit(
    history: History,
    setting: ItemKNNHyperparameters,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[Epoch]:
    """Yields the fitted item-kNN as its only epoch; nothing in it is random.

    Raises:
        ValueError: `recency` is above 0 and the history does not know the order of its items.
    """
    from scipy.sparse import csr_array, csr_matrix

    from ncf.models.matrix import one_blas_thread, rows_by_place, train_matrix

    start = time.perf_counter()
    with one_blas_thread():
        from implicit import nearest_neighbours as knn

        columns = train_matrix(history, 0).T
        if setting.similarity == "tfidf":
            columns = knn.tfidf_weight(columns)
        weighted = (
            knn.bm25_weight(columns, setting.k1, setting.b)
            if setting.similarity == "bm25"
            else knn.normalize(columns)
        )
        # One more, as an item is among its own nearest (with bm25, nearly always); that entry only
        # raises items that a user has, which are never ranked.
        nearest = knn.all_pairs_knn(
            csr_matrix(weighted.T), setting.n_neighbors + 1, show_progress=False, num_threads=1
        )
    similarity = csr_array(nearest.T, dtype="f4")
    rows = rows_by_place(history, setting.recency)
    scorer = ItemItem(*rows, similarity.indptr, similarity.indices, similarity.data)
    yield Epoch(1, 0.0, time.perf_counter() - start, len(history.items), scorer)


def space(trial: optuna.Trial) -> ItemKNNHyperparameters:
    """Suggests one setting of item-kNN."""
    n_neighbors = trial.suggest_int("n_neighbors", 5, 500, log=True)
    similarity = cast(Similarity, trial.suggest_categorical("similarity", get_args(Similarity)))
    setting = ItemKNNHyperparameters(
        n_neighbors, similarity, recency=trial.suggest_float("recency", 0, 2)
    )
    if similarity == "bm25":
        k1 = trial.suggest_float("k1", 0.3, 100, log=True)
        setting = replace(setting, k1=k1, b=trial.suggest_float("b", 0.2, 1))
    return setting
