"""What a person would use instead: popularity, item-kNN and iALS, behind the scorer protocol.

- Popularity: the number of users of an item, the same for everyone.
- Item-kNN (Sarwar et al., WWW 2001): score(u, i) = sum of r_uj s(i, j) over the k items j most
  similar to i that u has in train. s is the cosine of two items' columns of the train matrix
  ("cosine"), the same after weighting each user by log(I / (1 + their items)) ("tfidf"), or the
  product of the columns weighted by BM25 ("bm25"). To keep the k nearest of the item that is
  scored, and not of those in the history, gives 0.424 nDCG@10 in place of 0.384 (validation of
  ml-1m, cosine, k = 40).
- iALS (Hu, Koren & Volinsky, ICDM 2008): score(u, i) = x_u . y_i, which minimize

      sum_(u,i) c_ui (t_ui - x_u . y_i)^2 + regularization (sum_u |x_u|^2 + sum_i |y_i|^2)

  with t_ui = 1 and c_ui = alpha r_ui where u has i in train, else t_ui = 0 and c_ui = 1.

r_ui is 1, or falls with the age of the interaction as the visits of `recency.py` do, so that the
baselines may use the order of time where GMF does.

The last two are the library `implicit`'s. They run on one thread, as trials do. Same history,
settings and seed: same scores, bit for bit, on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from ncf.models.model import require
from ncf.models.recency import items_by_time, recency_weights
from ncf.protocol.splitting import History

if TYPE_CHECKING:
    import optuna

Similarity: TypeAlias = Literal["cosine", "tfidf", "bm25"]

_BLOCK_BYTES = 32 << 20  # of scores with every item, where only some are asked for


@dataclass(frozen=True)
class Popularity:
    """Scores an item by its number of users; equally popular items tie.

    Shapes: popularity (I,).
    """

    popularity: NDArray[np.float64]

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float64]:
        """Returns the scores (B, C) of users (B,) with items (B, C)."""
        return np.asarray(self.popularity[items])

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Returns the scores (B, I) of users (B,) with every item, read-only."""
        return np.broadcast_to(self.popularity, (len(users), len(self.popularity)))


@dataclass(frozen=True)
class ItemKNN:
    """Scores an item by its similarity to the user's train items.

    Shapes: train (U, I), similarity (I, I), of which a column has the nearest of one item.
    """

    train: csr_array
    similarity: csr_array

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the scores (B, C) of users (B,) with items (B, C)."""
        scores = np.empty(items.shape, np.float32)
        block = max(1, _BLOCK_BYTES // (4 * self.similarity.shape[1]))
        for start in range(0, len(users), block):
            rows = slice(start, start + block)
            scores[rows] = np.take_along_axis(self.score_all(users[rows]), items[rows], axis=1)
        return scores

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item."""
        return np.asarray((self.train[users] @ self.similarity).toarray())


@dataclass(frozen=True)
class IALS:
    """Scores by the inner product of factors.

    Shapes: user_factors (U, D), item_factors (I, D).
    """

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the scores (B, C) of users (B,) with items (B, C)."""
        # a product of matrices for each user is many times faster than einsum
        products = self.item_factors[items] @ self.user_factors[users][:, :, None]
        return np.asarray(products[:, :, 0])

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item."""
        return np.asarray(self.user_factors[users] @ self.item_factors.T)


@dataclass(frozen=True)
class PopularityHyperparameters:
    """Popularity has none."""


@dataclass(frozen=True)
class ItemKNNHyperparameters:
    """One setting of item-kNN.

    Attributes:
        n_neighbors: k, the most similar other items by which an item is scored.
        similarity: How the columns of the train matrix are weighted.
        k1: Saturation, and b: how much popular items are marked down; of "bm25" only.
        recency: g, by which a user's a-th latest item counts in proportion to a^-g.
    """

    n_neighbors: int = 40
    similarity: Similarity = "tfidf"
    k1: float = 1.2
    b: float = 0.75
    recency: float = 0.0

    def __post_init__(self) -> None:
        require(self.n_neighbors >= 1, "n_neighbors >= 1", self.n_neighbors)
        require(self.recency >= 0, "recency >= 0", self.recency)
        known = get_args(Similarity)
        require(self.similarity in known, f"similarity in {known}", self.similarity)


@dataclass(frozen=True)
class IALSHyperparameters:
    """One setting of iALS.

    Attributes:
        factors: D, the number of factors of a user and of an item.
        alpha: Weight of an interaction, where that of none is 1.
        regularization_per_alpha: Of the squared lengths of the factors, as a multiple of alpha, as
            the two go together; the best is near 10 on MovieLens, and grows with the interactions
            per user.
        iterations: Times that both users and items are solved for.
        recency: g, by which the weight of a user's a-th latest item is in proportion to a^-g.
    """

    factors: int = 64
    alpha: float = 5.0
    regularization_per_alpha: float = 6.0
    iterations: int = 15
    recency: float = 0.0

    def __post_init__(self) -> None:
        for name in ("factors", "iterations"):
            require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name))
        for name in ("alpha", "regularization_per_alpha"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        require(self.recency >= 0, "recency >= 0", self.recency)


BaselineSetting: TypeAlias = (
    PopularityHyperparameters | ItemKNNHyperparameters | IALSHyperparameters
)


def fit(history: History, setting: BaselineSetting, seed: int) -> Popularity | ItemKNN | IALS:
    """Returns the baseline of a setting, fitted."""
    if isinstance(setting, ItemKNNHyperparameters):
        return item_knn(history, setting)
    if isinstance(setting, IALSHyperparameters):
        return ials(history, setting, seed)
    return popularity(history)


def popularity(history: History) -> Popularity:
    """Returns the scorer that gives everyone the most popular items."""
    return Popularity(history.popularity.astype(np.float64))


def item_knn(history: History, hyperparameters: ItemKNNHyperparameters) -> ItemKNN:
    """Returns a fitted item-kNN."""
    h = hyperparameters
    with _implicit():
        from implicit import nearest_neighbours as knn

        columns = _matrix(history, 0).T
        if h.similarity == "tfidf":
            columns = knn.tfidf_weight(columns)
        weighted = (
            knn.bm25_weight(columns, h.k1, h.b)
            if h.similarity == "bm25"
            else knn.normalize(columns)
        )
        # One more, as an item is among its own nearest (with bm25, nearly always); that entry only
        # raises items that a user has, which are never ranked.
        nearest = knn.all_pairs_knn(
            csr_matrix(weighted.T), h.n_neighbors + 1, show_progress=False, num_threads=1
        )
    return ItemKNN(csr_array(_matrix(history, h.recency)), csr_array(nearest.T, dtype=np.float32))


def ials(history: History, hyperparameters: IALSHyperparameters, seed: int) -> IALS:
    """Returns a fitted iALS; the seed is that of its first factors."""
    h = hyperparameters
    with _implicit():
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            h.factors, h.alpha * h.regularization_per_alpha, h.alpha,
            iterations=h.iterations, num_threads=1, random_state=seed,
        )  # fmt: skip
        model.fit(_matrix(history, h.recency), show_progress=False)
    return IALS(model.user_factors, model.item_factors)


def item_knn_space(trial: optuna.Trial) -> ItemKNNHyperparameters:
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


def ials_space(trial: optuna.Trial) -> IALSHyperparameters:
    """Suggests one setting of iALS."""
    return IALSHyperparameters(
        factors=trial.suggest_categorical("factors", [32, 64, 128, 256]),
        alpha=trial.suggest_float("alpha", 1, 30, log=True),
        regularization_per_alpha=trial.suggest_float("regularization_per_alpha", 0.3, 30, log=True),
        iterations=trial.suggest_int("iterations", 5, 30),
        recency=trial.suggest_float("recency", 0, 2),
    )


def popularity_space(trial: optuna.Trial) -> PopularityHyperparameters:
    """Suggests the only setting of popularity."""
    return PopularityHyperparameters()


SPACES: dict[str, tuple[BaselineSetting, Callable[[optuna.Trial], BaselineSetting]]] = {
    "popularity": (PopularityHyperparameters(), popularity_space),
    "itemknn": (ItemKNNHyperparameters(recency=1.0), item_knn_space),
    "ials": (IALSHyperparameters(recency=1.0), ials_space),
}
"""Defaults and search space of each baseline, by the name that `--baselines` takes."""


def _matrix(history: History, recency: float) -> csr_matrix:
    """Returns r (U, I), of the older kind that `implicit` takes; binary where recency is 0."""
    items, values = history.items, np.ones(len(history.items), np.float32)
    if recency > 0:
        items, values = items_by_time(history), recency_weights(history, recency)
    shape = (history.n_users, history.n_items)
    return csr_matrix((values, items, history.indptr), shape=shape)


@contextmanager
def _implicit() -> Iterator[None]:
    """Keeps BLAS to one thread: `implicit` has its own threads, and warns of more."""
    import implicit  # noqa: F401 - it loads the BLAS that is to be limited

    with threadpool_limits(1, "blas"):
        yield
