"""The registered model: own user ids in, the top k of own item ids with scores and titles out.

MLflow loads it through `_load_pyfunc`, so that the artifact holds data alone and no code:

    weights.safetensors    the GMF's parameters
    weights.sha256         their checksum
    catalogue.npz          own ids, titles and seen items; or
    catalogue.json         the artifact that holds them (a trial's model shares its study's)

Scores are the GMF's probabilities. Seen items are left out unless asked for. An unknown user is
answered by popularity (scores are then the share of users who have the item) and marked so.
Needs numpy alone: a server of it loads no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load

from ncf.data.interactions import Interactions
from ncf.protocol.splitting import History

_WEIGHTS, _CHECKSUM = "weights.safetensors", "weights.sha256"
_BLOCK = 256  # users scored at a time


@dataclass(frozen=True)
class Catalogue:
    """What a model needs beside its weights.

    Shapes: user_ids (U,) and item_ids (I,), ascending; titles (I,) or None.
    """

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    titles: NDArray[np.str_] | None
    seen: History

    def save(self, path: Path) -> None:
        """Writes one compressed file of plain arrays."""
        arrays: dict[str, NDArray[Any]] = {
            "user_ids": self.user_ids,
            "item_ids": self.item_ids,
            "indptr": self.seen.indptr,
            "items": self.seen.items,
            "titles": np.array([], np.str_) if self.titles is None else self.titles,
        }
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Catalogue:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            item_ids, titles = arrays["item_ids"], arrays["titles"]
            return cls(
                arrays["user_ids"],
                item_ids,
                titles if len(titles) else None,
                History(arrays["indptr"], arrays["items"], len(item_ids)),
            )

    @classmethod
    def of(cls, interactions: Interactions, seen: History) -> Catalogue:
        """Returns the catalogue of a data set."""
        return cls(interactions.user_ids, interactions.item_ids, interactions.titles, seen)


@dataclass(frozen=True)
class Recommendations:
    """The answer for one user, best first; `known` is False where popularity answered."""

    user_id: str
    item_ids: list[Any]
    scores: list[float]
    titles: list[str]
    known: bool


@dataclass(frozen=True)
class SimilarItems:
    """The items most like one item, best first; scores are cosines, 1 at most."""

    item_id: str
    item_ids: list[Any]
    scores: list[float]
    titles: list[str]


@dataclass(frozen=True)
class Recommender:
    """Answers from a GMF's weights.

    Shapes: user_factors (U, D), already multiplied by the output weights, item_factors (I, D),
    item_bias (I,), with the output bias in it.
    """

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    catalogue: Catalogue

    @classmethod
    def of(cls, weights: Mapping[str, NDArray[np.float32]], catalogue: Catalogue) -> Recommender:
        """Returns the recommender of a GMF's parameters, by their names in its state."""
        return cls(
            weights["user_embedding.weight"] * weights["output.weight"],
            weights["item_embedding.weight"],
            weights["item_bias.weight"][:, 0] + weights["output.bias"],
            catalogue,
        )

    def recommend(
        self, user_ids: Sequence[Any], k: int = 10, include_seen: bool = False
    ) -> list[Recommendations]:
        """Returns the top k of each user; fewer where a user has fewer unseen items.

        Raises:
            ValueError: k is not positive, or a user id is neither text nor an integer.
        """
        if k < 1:
            raise ValueError(f"`k >= 1` must hold, but got k={k}")
        for user_id in user_ids:
            if isinstance(user_id, bool) or not isinstance(user_id, str | int | np.integer):
                raise ValueError(f"a user id must be text or an integer, but got {user_id!r}")
        answers: list[Recommendations] = []
        for start in range(0, len(user_ids), _BLOCK):
            asked = user_ids[start : start + _BLOCK]
            users = [self.index_of(user_id) for user_id in asked]
            known = np.array([-1 if user is None else user for user in users])
            logits = self.score_all(known)
            for user_id, user, row in zip(asked, users, logits, strict=True):
                scores = self._popularity.copy() if user is None else row
                if user is not None and not include_seen:
                    indptr = self.catalogue.seen.indptr
                    scores[self.catalogue.seen.items[indptr[user] : indptr[user + 1]]] = -np.inf
                answers.append(self._top(user_id, scores, k, user is not None))
        return answers

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answers MLflow: a column `user_id` in; `k` and `include_seen` are params.

        Raises:
            MlflowException: As `recommend`; of other errors a server would send the traceback.
        """
        from mlflow.exceptions import MlflowException

        options = {"k": 10, "include_seen": False, **(params or {})}
        user_ids, k = model_input["user_id"].tolist(), options["k"]
        try:
            if k is None:
                raise ValueError("k must be an integer, but got None")
            answers = self.recommend(user_ids, k, bool(options["include_seen"]))
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(f"{error}") from error
        return pd.DataFrame(
            {
                "user_id": [answer.user_id for answer in answers],
                "item_ids": [answer.item_ids for answer in answers],
                "scores": [answer.scores for answer in answers],
                "titles": [answer.titles for answer in answers],
                "known": [answer.known for answer in answers],
            }
        )

    def similar(self, item_id: Any, k: int = 10) -> SimilarItems:
        """Returns the k items whose factors point the most in the direction of the item's.

        Raises:
            ValueError: k is not positive, or the item is unknown.
        """
        if k < 1:
            raise ValueError(f"`k >= 1` must hold, but got k={k}")
        item = _position(self.catalogue.item_ids, item_id)
        if item is None:
            raise ValueError(f"item {item_id}: unknown to the model; give an own id of its data")
        lengths = np.linalg.norm(self.item_factors, axis=1)
        cosines = self.item_factors @ self.item_factors[item]
        cosines /= np.maximum(lengths * lengths[item], np.finfo(np.float32).tiny)
        cosines[item] = -np.inf
        best = _best(cosines, k)
        return SimilarItems(
            str(item_id),
            self.catalogue.item_ids[best].tolist(),
            cosines[best].astype(np.float64).round(6).tolist(),
            self._titles_of(best),
        )

    def score(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Returns the logits (B, C) of users (B,) with items (B, C), by dense index."""
        factors, bias = self.item_factors[items], self.item_bias[items]
        products: NDArray[np.float32] = np.einsum("bd,bcd->bc", self.user_factors[users], factors)
        products += bias
        return products

    def score_all(self, users: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Returns the logits (B, I) of users (B,) with every item, by dense index."""
        products: NDArray[np.float32] = self.user_factors[users] @ self.item_factors.T
        products += self.item_bias
        return products

    def index_of(self, user_id: Any) -> int | None:
        """Returns the dense index of an own id, None where it is unknown."""
        return _position(self.catalogue.user_ids, user_id)

    @cached_property
    def _popularity(self) -> NDArray[np.float32]:
        return (self.catalogue.seen.popularity / self.catalogue.seen.n_users).astype(np.float32)

    def _top(
        self,
        user_id: Any,
        scores: NDArray[np.float32],
        k: int,
        known: bool,
    ) -> Recommendations:
        best = _best(scores, k)
        shown = scores[best].astype(np.float64)
        if known:
            shown = sigmoid(shown)
        return Recommendations(
            str(user_id),
            self.catalogue.item_ids[best].tolist(),
            shown.round(6).tolist(),
            self._titles_of(best),
            known,
        )

    def _titles_of(self, items: NDArray[np.int64]) -> list[str]:
        titles = self.catalogue.titles
        return [""] * len(items) if titles is None else titles[items].tolist()


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the probabilities of any logits, without overflow."""
    return np.exp(-np.logaddexp(0, -logits))


def keep_weights(weights: Path, folder: Path) -> None:
    """Copies a GMF's weights into a model's data folder, and notes their checksum."""
    content = weights.read_bytes()
    (folder / _WEIGHTS).write_bytes(content)
    (folder / _CHECKSUM).write_text(hashlib.sha256(content).hexdigest())


def load_recommender(folder: Path) -> Recommender:
    """Reads a model's data folder.

    Raises:
        FileNotFoundError: A file of it is missing.
        ValueError: The model is damaged, or its weights and catalogue are of different data.
    """
    path = _catalogue_path(folder)
    content, checksum = (folder / _WEIGHTS).read_bytes(), (folder / _CHECKSUM).read_bytes()
    try:
        if hashlib.sha256(content).hexdigest().encode() != checksum:
            raise ValueError("the weights are not those of their checksum")
        weights, catalogue = load(content), Catalogue.load(path)
        sizes = len(weights["user_embedding.weight"]), len(weights["item_embedding.weight"])
    except Exception as error:  # a dozen kinds, by which byte is lost
        raise ValueError(
            f"{folder}: the model is damaged ({error}); take another version, or make it again"
        ) from error
    if sizes != (len(catalogue.user_ids), len(catalogue.item_ids)):
        raise ValueError(
            f"{folder}: weights of {sizes[0]} users and {sizes[1]} items do not fit a catalogue of "
            f"{len(catalogue.user_ids)} and {len(catalogue.item_ids)}; take another version"
        )
    return Recommender.of(weights, catalogue)


def _position(ids: NDArray[Any], own_id: Any) -> int | None:
    if np.issubdtype(ids.dtype, np.integer):
        try:
            own_id = int(str(own_id))
            position = int(np.searchsorted(ids, np.int64(own_id)))
        except (ValueError, OverflowError):
            return None
    else:
        own_id = str(own_id)
        position = int(np.searchsorted(ids, own_id))
    return position if position < len(ids) and ids[position] == own_id else None


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Returns the indices of the k highest scores above -inf, best first, ties by index."""
    n_best = min(k, len(scores))
    worst = np.partition(scores, -n_best)[-n_best]
    best = np.flatnonzero((scores >= worst) & (scores > -np.inf))
    return best[np.argsort(-scores[best], kind="stable")][:n_best]


def _catalogue_path(folder: Path) -> Path:
    own = folder / "catalogue.npz"
    if own.exists():
        return own
    import mlflow

    uri = json.loads((folder / "catalogue.json").read_text())["uri"]
    return Path(mlflow.artifacts.download_artifacts(uri))


def _load_pyfunc(data_path: str) -> Recommender:  # the name that MLflow calls
    return load_recommender(Path(data_path))
