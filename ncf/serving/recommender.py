"""The registered model: own user ids in, the top k of own item ids with scores and titles out.

The scores of a model that is trained on cross-entropy are its probabilities. Seen items are left
out unless asked for. An unknown user is answered by popularity (scores are then the share of users
who have the item) and marked so, unless the user's items are given and the model reads them. Needs
numpy alone: a server of it loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ncf.serving.catalogue import Catalogue
from ncf.serving.factors import Factors
from ncf.serving.requests import check_request, in_short, items_of_cell
from ncf.serving.scorers import Scorer, likeness, reads_items
from ncf.serving.towers import Towers

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 256  # users scored at a time


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
    """The items most like one item, best first; scores are cosines, or weights of that item."""

    item_id: str
    item_ids: list[Any]
    scores: list[float]
    titles: list[str]


@dataclass(frozen=True)
class Recommender:
    """Answers from a fitted model and its catalogue."""

    scorer: Scorer
    catalogue: Catalogue

    def __repr__(self) -> str:
        """Returns a line; the arrays would fill pages."""
        kind, catalogue = type(self.scorer).__name__, self.catalogue
        return f"Recommender({kind}, {catalogue.n_users:,} users, {catalogue.n_items:,} items)"

    def recommend(
        self,
        user_ids: Sequence[Any] = (),
        k: int = 10,
        include_seen: bool = False,
        *,
        items: Sequence[Any] | None = None,
    ) -> list[Recommendations]:
        """Returns the top k of each user; fewer where a user has fewer unseen items.

        Args:
            user_ids: The users' own ids; an unknown user is answered by popularity.
            k: The most items of a list.
            include_seen: Whether items that the user has seen, or that are given, may be listed.
            items: The own ids of one user's items in the order of time, latest last. They replace
                the last items that the model knows of the user, who may be unknown or, with no user
                id, nobody in particular. Items that the model does not know are passed over; where
                it knows none of them the answer is that without items.

        Raises:
            ValueError: k is not positive, an id is neither text nor an integer, items are given for
                several users, or the model does not read a user's items.
        """
        if k < 1:
            raise ValueError(f"`k >= 1` must hold, but got k={k}")
        for user_id in user_ids:
            _check_id("user", user_id)
        if items is None:
            return self._of_known(user_ids, k, include_seen)
        if len(user_ids) > 1:
            raise ValueError(f"items are one user's, but got {len(user_ids)} user ids")
        return [self._of_given(user_ids[0] if user_ids else None, items, k, include_seen)]

    def _of_known(
        self, user_ids: Sequence[Any], k: int, include_seen: bool
    ) -> list[Recommendations]:
        answers: list[Recommendations] = []
        for start in range(0, len(user_ids), _BLOCK):
            asked = user_ids[start : start + _BLOCK]
            users = [self.catalogue.user_of(user_id) for user_id in asked]
            known = np.array([-1 if user is None else user for user in users])
            scores_of_users = self.scorer.score_all(known)
            for user_id, user, row in zip(asked, users, scores_of_users, strict=True):
                scores = np.array(self.catalogue.popularity if user is None else row)
                if user is not None and not include_seen:
                    scores[self.catalogue.seen_by(user)] = -np.inf
                answers.append(self._top(user_id, scores, k, user is not None))
        return answers

    def _of_given(
        self, user_id: Any, item_ids: Sequence[Any], k: int, include_seen: bool
    ) -> Recommendations:
        if not reads_items(self.scorer):
            raise ValueError(
                "this model does not read a user's items; one that was trained with n_recent > 0 "
                "does, and so do item-kNN, EASE, SLIST and Markov"
            )
        for item_id in item_ids:
            _check_id("item", item_id)
        found = [self.catalogue.item_of(item_id) for item_id in item_ids]
        # an item that is named twice counts where it is latest, as in a history
        latest_first = dict.fromkeys(item for item in reversed(found) if item is not None)
        items = np.array([*latest_first][::-1], np.int64)
        if not len(items):
            return self._of_known(["" if user_id is None else user_id], k, include_seen)[0]
        user = None if user_id is None else self.catalogue.user_of(user_id)
        scores = self.scorer.score_given(user, items)
        if not include_seen:
            scores[items] = -np.inf
            if user is not None:
                scores[self.catalogue.seen_by(user)] = -np.inf
        return self._top("" if user_id is None else user_id, scores, k, True)

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answers MLflow: rows of `user_id`, `item_ids` or both; `k`, `include_seen` are params.

        `item_ids` are a list, or text with commas between them, as `recommend` takes them.

        Raises:
            MlflowException: As `recommend`; of other errors a server would send the traceback.
        """
        import pandas as pd
        from mlflow.exceptions import MlflowException

        options = {"k": 10, "include_seen": False, **(params or {})}
        k, include_seen = options["k"], bool(options["include_seen"])
        try:
            if k is None:
                raise ValueError("k must be an integer, but got None")
            if not {"user_id", "item_ids"} & set(model_input):
                raise ValueError("rows need a user_id, item_ids or both")
            check_request(model_input, k, self.scorer.n_items)
            if "item_ids" in model_input:
                answers = self._of_rows(model_input, k, include_seen)
            else:
                answers = self.recommend(model_input["user_id"].tolist(), k, include_seen)
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

    def _of_rows(
        self, model_input: pd.DataFrame, k: int, include_seen: bool
    ) -> list[Recommendations]:
        """Answers rows with a column `item_ids`, which some rows may leave empty."""
        answers: list[Recommendations] = []
        for row in model_input.to_dict("records"):
            user_id, items = row.get("user_id"), items_of_cell(row["item_ids"])
            has_user = user_id is not None and user_id == user_id  # pandas' gap is NaN
            users = [user_id] if has_user or items is None else []
            answers += self.recommend(users, k, include_seen, items=items)
        return answers

    def similar(self, item_id: Any, k: int = 10) -> SimilarItems:
        """Returns the k items whose factors point the most in the direction of the item's.

        Of a model that weighs items with items they are those that the item speaks for the most,
        and of a mixture the answer is that of its first model.

        Raises:
            ValueError: k is not positive, the item is unknown, or the model compares no items.
        """
        if k < 1:
            raise ValueError(f"`k >= 1` must hold, but got k={k}")
        item = self.catalogue.item_of(item_id)
        if item is None:
            raise ValueError(
                f"item {str(item_id)[:100]}: unknown to the model; give an id of its data"
            )
        scores = likeness(self.scorer, item)
        scores[item] = -np.inf
        best = _best(scores, k)
        return SimilarItems(
            str(item_id),
            self.catalogue.item_ids[best].tolist(),
            scores[best].astype(np.float64).round(6).tolist(),
            self.catalogue.titles_of(best),
        )

    def shown(self, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Returns what is shown of a known user's scores: probabilities where they are logits."""
        values = scores.astype(np.float64)
        are_logits = isinstance(self.scorer, Factors | Towers) and self.scorer.are_logits
        return (sigmoid(values) if are_logits else values).round(6)

    def _top(
        self, user_id: Any, scores: NDArray[np.floating[Any]], k: int, known: bool
    ) -> Recommendations:
        best = _best(scores, k)
        shown = self.shown(scores[best]) if known else scores[best].astype(np.float64).round(6)
        return Recommendations(
            str(user_id),
            self.catalogue.item_ids[best].tolist(),
            shown.tolist(),
            self.catalogue.titles_of(best),
            known,
        )


def _check_id(kind: str, own_id: Any) -> None:
    if isinstance(own_id, bool) or not isinstance(own_id, str | int | np.integer):
        article = "an" if kind == "item" else "a"
        raise ValueError(
            f"{article} {kind} id must be text or an integer, but got {in_short(own_id)}"
        )


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the probabilities of any logits, without overflow."""
    return np.exp(-np.logaddexp(0, -logits))


def _best(scores: NDArray[np.floating[Any]], k: int) -> NDArray[np.int64]:
    """Returns the indices of the k highest scores above -inf, best first, ties by index."""
    n_best = min(k, len(scores))
    worst = np.partition(scores, -n_best)[-n_best]
    best = np.flatnonzero((scores >= worst) & (scores > -np.inf))
    return best[np.argsort(-scores[best], kind="stable")][:n_best]
