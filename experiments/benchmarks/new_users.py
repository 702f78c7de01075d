"""Users whom the model has never seen: what their items alone are worth, how best to serve them.

    python experiments/benchmarks/new_users.py [--data ml-100k] [--share 0.25] [--seeds 3]

A share of the users is left out of training. Each of them then comes with the items of their train
row, in the order of time, and their validation item is ranked as in a search: among the sampled
candidates, and among all items. Test is never read. Training stops by the validation items of the
users who stayed. Printed, as a Markdown table: means over seeds of training.

- no own factors: x_u of the given items alone, zeros in place of the user's own factors
- mean own factors: the same beside the mean of the known users' own factors
- embedding_dim 0: a model that was trained without own factors
- trained on them: for comparison, the models that had these users in training
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ncf.data.datasets import load_interactions
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.positives import items_by_time
from ncf.models.table import fit
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import full_ranks, sampled_ranks
from ncf.protocol.seeds import Purpose, spawn_int
from ncf.protocol.splitting import HeldOut, History, history_of, leave_one_out
from ncf.serving.factors import Factors

RECENT = Hyperparameters(
    embedding_dim=64,
    learning_rate=0.0175,
    learning_rate_decay=0.9,
    weight_decay=0.007,
    n_negatives=12,
    recency=0.6,
    n_recent=8,
    recent_decay=1.25,
    recent_dim=64,
)
ALONE = replace(RECENT, embedding_dim=0)
PLAIN = Hyperparameters(recency=1.0)
EPOCHS, PATIENCE, K = 30, 4, 10


@dataclass(frozen=True)
class Part:
    """Some users of a split: their train items, validation items and candidates."""

    train: History
    validation: HeldOut
    candidates: NDArray[np.int32]


@dataclass(frozen=True)
class Given:
    """A scorer of new users, who are what their items are."""

    scorer: Factors
    history: History
    own: NDArray[np.float32] | None = None  # the own factors of each of them; None for none

    def score_all(self, users: NDArray[np.integer]) -> NDArray[np.float32]:
        """Returns the scores (B, I)."""
        by_time, indptr = items_by_time(self.history), self.history.indptr
        scorer, user = self.scorer, None
        if self.own is not None:
            scorer, user = replace(scorer, user_factors=self.own[None]), 0
        return np.stack(
            [scorer.score_given(user, by_time[indptr[u] : indptr[u + 1]]) for u in users]
        )

    def score(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> NDArray[np.float32]:
        """Returns the scores (B, C)."""
        return np.take_along_axis(self.score_all(users), items, axis=1)


def main() -> None:
    """Trains with and without the users, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="ml-100k")
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    split = leave_one_out(load_interactions(options.data))
    whole, held_out = split.whole, split.validation
    candidates = draw_candidates(
        whole.indptr, whole.items, whole.n_items, held_out.users, held_out.items, 100,
        spawn_int(0, Purpose.VALIDATION_CANDIDATES),
    )  # fmt: skip
    every = Part(split.train, held_out, candidates)
    is_new = np.zeros(split.train.n_users, bool)
    n_new = round(options.share * len(held_out.users))
    is_new[np.random.default_rng(0).choice(held_out.users, n_new, replace=False)] = True
    new, known = part_of(every, is_new), part_of(every, ~is_new)
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seed in range(options.seeds):
        for setting, name in ((RECENT, "recent"), (ALONE, "alone"), (PLAIN, "plain")):
            if setting is not PLAIN:
                scorer = trained(known, setting, seed)
                found[f"{name}, new users"].append(metrics(Given(scorer, new.train), new))
                mean = Given(scorer, new.train, scorer.user_factors.mean(axis=0))
                found[f"{name}, new users, mean"].append(metrics(mean, new))
            at_home = replace(new, train=every.train, validation=of_users(held_out, is_new))
            found[f"{name}, trained on them"].append(
                metrics(trained(every, setting, seed), at_home)
            )
    labels = {
        "recent, new users": "no own factors",
        "recent, new users, mean": "mean own factors",
        "alone, new users": "embedding_dim 0",
        "recent, trained on them": "trained on them, with own factors",
        "alone, trained on them": "trained on them, embedding_dim 0",
        "plain, trained on them": "trained on them, GMF without a recent block",
    }
    print(f"{options.data}, {n_new} of {len(held_out.users)} users new, {options.seeds} seeds")
    print(f"| how a user is served | nDCG@{K} | sd | full nDCG@{K} | sd |\n|---|---|---|---|---|")
    for key, label in labels.items():
        cells = [
            f"{statistics.mean(values):.4f} | {statistics.stdev(values):.4f}"
            for values in zip(*found[key], strict=True)
        ]
        print(f"| {label} | {' | '.join(cells)} |")


def part_of(every: Part, chosen: NDArray[np.bool_]) -> Part:
    """Returns the chosen users (U,) alone, numbered anew."""
    number = np.cumsum(chosen, dtype=np.int32) - 1
    is_in = chosen[every.train.user_of]
    users = number[every.train.user_of[is_in]]
    items = items_by_time(every.train)[is_in]
    train = history_of(users, items, int(chosen.sum()), every.train.n_items)
    rows = chosen[every.validation.users]
    validation = of_users(every.validation, chosen)
    renumbered = HeldOut(number[validation.users], validation.items)
    return Part(train, renumbered, every.candidates[rows])


def of_users(held_out: HeldOut, chosen: NDArray[np.bool_]) -> HeldOut:
    """Returns the held-out items of the chosen users (U,)."""
    rows = chosen[held_out.users]
    return HeldOut(held_out.users[rows], held_out.items[rows])


def trained(part: Part, setting: Hyperparameters, seed: int) -> Factors:
    """Returns the model of the best epoch by the part's own validation items."""
    best, best_epoch, kept = -1.0, 0, None
    for epoch in fit(part.train, setting, epochs=EPOCHS, seed=np.random.SeedSequence(seed)):
        scorer = epoch.scorer
        assert isinstance(scorer, Factors)
        value = metrics(scorer, part)[0]
        if value > best:
            best, best_epoch = value, epoch.epoch
            kept = replace(
                scorer,
                user_factors=scorer.user_factors.copy(),
                item_factors=scorer.item_factors.copy(),
                recent=scorer.recent
                and replace(scorer.recent, factors=scorer.recent.factors.copy()),
            )
        if epoch.epoch - best_epoch >= PATIENCE:
            break
    assert kept is not None
    return kept


def metrics(scorer: Factors | Given, part: Part) -> tuple[float, float]:
    """Returns the sampled and the full nDCG of a part's validation items."""
    ranks = (
        sampled_ranks(scorer, part.validation.users, part.candidates),
        full_ranks(scorer, part.validation, part.train),
    )
    sampled, full = (summarize(one, K)[f"ndcg_{K}"] for one in ranks)
    return sampled, full


if __name__ == "__main__":
    main()
