"""The registered model: own user ids in, the top k of own item ids with scores and titles out.

The scores of a model that is trained on cross-entropy are its probabilities. Seen items are left
out unless asked for. An unknown user is answered by popularity (scores are then the share of users
who have the item) and marked so, unless the user's items are given and the model reads them. Needs
numpy alone: a server of it loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import served
from .answers import Recommendations, SimilarItems, as_table
from .catalogue import Catalogue
from .requests import ids_of
from .scorers import Scorer, likeness, reads_items, shown

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 256  # users scored at a time


@dataclass(frozen=True)
class _Wanted:
    """What a list may hold: at most k items, seen ones or not, and none of `left_out`, dense."""

    k: int
    include_seen: bool
    left_out: NDArray[np.int64]


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
        user_ids: Iterable[Any] = (),
        k: int = 10,
        include_seen: bool = False,
        *,
        items: Iterable[Any] | None = None,
        only: Iterable[Any] | None = None,
        exclude: Iterable[Any] = (),
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
            only: The own ids of the items that may be listed; None means all.
            exclude: The own ids of items that may not.

        Raises:
            ValueError: k is not positive, an id is neither text nor an integer, items are given for
                several users, the model does not read a user's items, or it knows none of `only`.
        """
        if k < 1:
            raise ValueError(f"`k >= 1` must hold, but got k={k}")
        users = ids_of("user", user_ids)
        is_listable = self.listable(only, exclude)
        left_out = np.array([], np.int64) if is_listable is None else np.flatnonzero(~is_listable)
        wanted = _Wanted(k, include_seen, left_out)
        if items is None:
            return self._of_known(users, wanted)
        if len(users) > 1:
            raise ValueError(f"items are one user's, but got {len(users)} user ids")
        return [self._of_given(users[0] if users else "", ids_of("item", items), wanted)]

    def table(
        self,
        user_ids: Iterable[Any] | None = None,
        k: int = 10,
        include_seen: bool = False,
        *,
        only: Iterable[Any] | None = None,
        exclude: Iterable[Any] = (),
    ) -> pd.DataFrame:
        """Returns `recommend` as a pandas table: user_id, known, rank, item_id, score, title.

        Args:
            user_ids: As in `recommend`; None means every user that the model was fitted to.
            k: As in `recommend`, and so are the others.
            include_seen: Whether items that a user has seen may be listed.
            only: The items that may be listed.
            exclude: Those that may not.

        Raises:
            ValueError: As `recommend`.
        """
        if user_ids is None:
            user_ids = self.catalogue.user_ids[self.catalogue.fitted_users].tolist()
        return as_table(self.recommend(user_ids, k, include_seen, only=only, exclude=exclude))

    def listable(
        self, only: Iterable[Any] | None, exclude: Iterable[Any] = ()
    ) -> NDArray[np.bool_] | None:
        """Returns whether each item may be listed, (I,); None where all may.

        Args:
            only: The own ids of the items that may; None means all.
            exclude: The own ids of items that may not.

        Raises:
            ValueError: The model knows none of `only`, or an id is neither text nor an integer.
        """
        barred = ids_of("item", exclude)
        if only is None and not barred:
            return None
        mask = np.full(self.catalogue.n_items, only is None)
        if only is not None:
            listed = ids_of("item", only)
            mask[self._known_items(listed)] = True
            if not mask.any():
                raise ValueError(
                    f"`only` names {len(listed)} items, and the model knows none of them; give ids "
                    "of its data"
                )
        mask[self._known_items(barred)] = False
        return mask

    def _known_items(self, item_ids: Sequence[Any]) -> list[int]:
        """Returns the dense indices of those items that the model knows, in their order."""
        found = map(self.catalogue.item_of, item_ids)
        return [item for item in found if item is not None]

    def _of_known(self, user_ids: Sequence[Any], wanted: _Wanted) -> list[Recommendations]:
        answers: list[Recommendations] = []
        for start in range(0, len(user_ids), _BLOCK):
            asked = user_ids[start : start + _BLOCK]
            users = [self.catalogue.user_of(user_id) for user_id in asked]
            rows = np.array([-1 if user is None else user for user in users])
            scores_of_users = self.scorer.score_all(rows)
            for user_id, user, row in zip(asked, users, scores_of_users, strict=True):
                is_known = self.catalogue.is_fitted(user)
                scores = np.array(row if is_known else self.catalogue.popularity)
                answers.append(self._top(user_id, user, scores, wanted, is_known))
        return answers

    def _of_given(self, user_id: Any, item_ids: Sequence[Any], wanted: _Wanted) -> Recommendations:
        if not reads_items(self.scorer):
            raise ValueError(
                "this model does not read a user's items; one that was trained with n_recent > 0 "
                "does, and so do item-kNN, EASE, SLIST and Markov"
            )
        # an item that is named twice counts where it is latest, as in a history
        latest_first = dict.fromkeys(reversed(self._known_items(item_ids)))
        items = np.array([*latest_first][::-1], np.int64)
        if not len(items):
            return self._of_known([user_id], wanted)[0]
        user = self.catalogue.user_of(user_id)
        scores = self.scorer.score_given(user if self.catalogue.is_fitted(user) else None, items)
        if not wanted.include_seen:
            scores[items] = -np.inf
        return self._top(user_id, user, scores, wanted, True)

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answers MLflow, as `served.answer` says."""
        return served.answer(self, model_input, params)

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

    def _top(
        self,
        user_id: Any,
        user: int | None,
        scores: NDArray[np.floating[Any]],
        wanted: _Wanted,
        known: bool,
    ) -> Recommendations:
        """Returns the best of the scores, which are overwritten where nothing may be listed."""
        if user is not None and not wanted.include_seen:
            scores[self.catalogue.seen_by(user)] = -np.inf
        scores[wanted.left_out] = -np.inf
        best = _best(scores, wanted.k)
        values = scores[best].astype(np.float64)
        return Recommendations(
            str(user_id),
            self.catalogue.item_ids[best].tolist(),
            (shown(self.scorer, values) if known else values).round(6).tolist(),
            self.catalogue.titles_of(best),
            known,
        )


def _best(scores: NDArray[np.floating[Any]], k: int) -> NDArray[np.int64]:
    """Returns the indices of the k highest scores above -inf, best first, ties by index."""
    n_best = min(k, len(scores))
    worst = np.partition(scores, -n_best)[-n_best]
    best = np.flatnonzero((scores >= worst) & (scores > -np.inf))
    return best[np.argsort(-scores[best], kind="stable")][:n_best]
