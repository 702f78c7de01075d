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

from ncf.interactions import Interactions
from ncf.splitting import History

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
class Recommender:
    """Answers from a GMF's weights.

    Shapes: user_factors (U, D), already multiplied by the output weights, item_factors (I, D),
    item_bias (I,), with the output bias in it.
    """

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    catalogue: Catalogue

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
            logits = self.user_factors[known] @ self.item_factors.T + self.item_bias
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

    def index_of(self, user_id: Any) -> int | None:
        """Returns the dense index of an own id, None where it is unknown."""
        ids = self.catalogue.user_ids
        if np.issubdtype(ids.dtype, np.integer):
            try:
                user_id = int(str(user_id))
                position = int(np.searchsorted(ids, np.int64(user_id)))
            except (ValueError, OverflowError):
                return None
        else:
            user_id = str(user_id)
            position = int(np.searchsorted(ids, user_id))
        return position if position < len(ids) and ids[position] == user_id else None

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
        n_best = min(k, len(scores))
        worst = np.partition(scores, -n_best)[-n_best]
        best = np.flatnonzero((scores >= worst) & (scores > -np.inf))
        best = best[np.argsort(-scores[best], kind="stable")][:n_best]  # ties by the item's index
        shown = scores[best].astype(np.float64)
        if known:
            shown = np.exp(-np.logaddexp(0, -shown))  # the sigmoid, of any logit
        titles = self.catalogue.titles
        return Recommendations(
            str(user_id),
            self.catalogue.item_ids[best].tolist(),
            shown.round(6).tolist(),
            [""] * len(best) if titles is None else titles[best].tolist(),
            known,
        )


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
    return Recommender(
        weights["user_embedding.weight"] * weights["output.weight"],
        weights["item_embedding.weight"],
        weights["item_bias.weight"][:, 0] + weights["output.bias"],
        catalogue,
    )


def _catalogue_path(folder: Path) -> Path:
    own = folder / "catalogue.npz"
    if own.exists():
        return own
    import mlflow

    uri = json.loads((folder / "catalogue.json").read_text())["uri"]
    return Path(mlflow.artifacts.download_artifacts(uri))


def _load_pyfunc(data_path: str) -> Recommender:  # the name that MLflow calls
    return load_recommender(Path(data_path))
