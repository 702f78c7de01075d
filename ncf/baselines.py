"""What a person would use instead: popularity, item-kNN and iALS, behind the scorer protocol.

- Popularity: the number of users of an item, the same for everyone.
- Item-kNN (Sarwar et al., WWW 2001; its normal form in Deshpande & Karypis, TOIS 2004):
  score(u, i) = sum of s(j, i) over the train items j of u that have i among their k most similar.
  s is the product of two items' columns of the train matrix, each divided by its length ("cosine"),
  after a TF-IDF weighting ("tfidf"), or weighted by BM25 ("bm25").
- iALS (Hu, Koren & Volinsky, ICDM 2008): score(u, i) = x_u . y_i, which minimize

      sum_(u,i) c_ui (r_ui - x_u . y_i)^2 + regularization (sum_u |x_u|^2 + sum_i |y_i|^2)

  with r_ui = 1 and c_ui = alpha where u has i in train, else r_ui = 0 and c_ui = 1.

The last two are the library `implicit`'s, a dependency of the extra `baselines`. They run on one
thread, as trials do. Same history, settings and seed: same scores, bit for bit, on one machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix

from ncf.splitting import History

if TYPE_CHECKING:
    import optuna

_BLOCK_BYTES = 32 << 20  # of scores with every item, where only some are asked for


@dataclass(frozen=True)
class Popularity:
    """Scores an item by its number of users; equally popular items tie.

    Shapes: popularity (I,).
    """

    popularity: NDArray[np.float32]

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the scores (B, C) of users (B,) with items (B, C)."""
        return self.popularity[items]

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item, read-only."""
        return np.broadcast_to(self.popularity, (len(users), len(self.popularity)))


@dataclass(frozen=True)
class ItemKNN:
    """Scores an item by its similarity to the user's train items.

    Shapes: train (U, I), similarity (I, I), at most k entries in a row.
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
        return (self.train[users] @ self.similarity).toarray()


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
        return products[:, :, 0]

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the scores (B, I) of users (B,) with every item."""
        return self.user_factors[users] @ self.item_factors.T


@dataclass(frozen=True)
class ItemKNNHyperparameters:
    """One setting of item-kNN.

    Attributes:
        n_neighbors: k, the most similar other items that each item counts for.
        similarity: How the columns of the train matrix are weighted.
        k1: How slowly a user's weight saturates, "bm25" only.
        b: How much popular items are marked down, 0 to 1, "bm25" only.
    """

    n_neighbors: int = 100
    similarity: Literal["cosine", "tfidf", "bm25"] = "cosine"
    k1: float = 1.2
    b: float = 0.75


@dataclass(frozen=True)
class IALSHyperparameters:
    """One setting of iALS.

    Attributes:
        factors: D, the number of factors of a user and of an item.
        regularization: Of the squared lengths of the factors.
        alpha: Weight of an interaction, where that of none is 1.
        iterations: Times that both users and items are solved for.
    """

    factors: int = 64
    regularization: float = 10.0
    alpha: float = 10.0
    iterations: int = 15


def popularity(history: History) -> Popularity:
    """Returns the scorer that gives everyone the most popular items."""
    return Popularity(history.popularity.astype(np.float32))


def item_knn(history: History, hyperparameters: ItemKNNHyperparameters) -> ItemKNN:
    """Returns a fitted item-kNN.

    Raises:
        ModuleNotFoundError: `implicit` is not installed.
    """
    h, train = hyperparameters, _matrix(history)
    with _implicit():
        from implicit import nearest_neighbours as knn

        k = h.n_neighbors + 1  # an item is its own nearest
        if h.similarity == "bm25":
            model = knn.BM25Recommender(k, h.k1, h.b, num_threads=1)
        elif h.similarity == "tfidf":
            model = knn.TFIDFRecommender(k, num_threads=1)
        else:
            model = knn.CosineRecommender(k, num_threads=1)
        model.fit(train, show_progress=False)
    return ItemKNN(csr_array(train), csr_array(model.similarity, dtype=np.float32))


def ials(history: History, hyperparameters: IALSHyperparameters, seed: int) -> IALS:
    """Returns a fitted iALS; the seed is that of its first factors.

    Raises:
        ModuleNotFoundError: `implicit` is not installed.
    """
    h = hyperparameters
    with _implicit():
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            h.factors, h.regularization, h.alpha,
            iterations=h.iterations, num_threads=1, random_state=seed,
        )  # fmt: skip
        model.fit(_matrix(history), show_progress=False)
    return IALS(model.user_factors, model.item_factors)


def item_knn_space(trial: optuna.Trial) -> ItemKNNHyperparameters:
    """Suggests one setting of item-kNN."""
    similarity = trial.suggest_categorical("similarity", ["cosine", "tfidf", "bm25"])
    h = ItemKNNHyperparameters(trial.suggest_int("n_neighbors", 5, 1000, log=True), similarity)
    return h


def ials_space(trial: optuna.Trial) -> IALSHyperparameters:
    """Suggests one setting of iALS."""
    return IALSHyperparameters()


def _matrix(history: History) -> csr_matrix:
    """Returns the binary train matrix (U, I), of the older kind that `implicit` takes."""
    ones = np.ones(len(history.items), np.float32)
    shape = (history.n_users, history.n_items)
    return csr_matrix((ones, history.items, history.indptr), shape=shape)


@contextmanager
def _implicit() -> Iterator[None]:
    """Lets `implicit` be imported and used, and keeps BLAS to one thread meanwhile."""
    try:
        from threadpoolctl import threadpool_limits

        import implicit  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'this baseline needs {error.name}: pip install -e ".[baselines]"', name=error.name
        ) from error
    with threadpool_limits(1, "blas"):  # `implicit` has its own threads, and warns of more
        yield
