"""The hyperparameters of GMF: what a trial may vary, checked where they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ncf.models.model import make_plain, require

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Hyperparameters:
    """One setting of everything that a trial may vary.

    Attributes:
        optimizer: "sgd", the compiled per-sample loop (CPU), or "adam", PyTorch minibatches.
        initialization: "spectral" starts from a truncated SVD; "xavier" from Xavier-uniform
            embeddings; "gaussian" as the NCF authors' code, from embeddings of N(0, 0.01^2) and,
            where they are learned, LeCun-uniform output weights.
        embedding_dim: D, the number of factors of a user and of an item; 0, which needs a recent
            block, leaves the user's own out, so that users are what they took last.
        learning_rate: Step size of the first epoch.
        learning_rate_decay: Factor on the learning rate after every epoch.
        weight_decay: L2 penalty; "sgd" applies it to the rows that a sample uses, "adam" to every
            parameter at every step.
        n_negatives: N, negatives drawn for each positive and epoch.
        batch_size: Samples (user-item pairs) per step of "adam"; "sgd" steps after each sample.
        init_rms: Root mean square of the factors of a spectral start.
        popular_negatives: Share of the negatives drawn in proportion to the items' popularity; 0
            draws all uniformly, as in the paper.
        recency: g, by which an epoch visits a user's a-th latest item in proportion to a^-g; 0
            visits each item once, as in the paper, whatever its time.
        learn_output_weight: Whether the output weights are learned, as in the paper, or stay 1.
            They have no L2 in "sgd", so that their growth undoes the L2 of the factors.
        learn_item_bias: Whether the items' biases are learned or stay 0.
        n_recent: L, how many of a user's last items stand beside the user's own factors, in order
            of time (`recent.py`); 0 leaves the block out.
        recent_decay: g, by which the a-th latest of them counts in proportion to a^-g.
        recent_dim: D2, the number of factors of the block.
    """

    optimizer: Literal["adam", "sgd"] = "sgd"
    initialization: Literal["spectral", "xavier", "gaussian"] = "spectral"
    embedding_dim: int = 64
    learning_rate: float = 0.02
    learning_rate_decay: float = 0.95
    weight_decay: float = 0.01
    n_negatives: int = 4
    batch_size: int = 1024
    init_rms: float = 0.15
    popular_negatives: float = 0.0
    recency: float = 0.0
    learn_output_weight: bool = False
    learn_item_bias: bool = True
    n_recent: int = 0
    recent_decay: float = 1.25
    recent_dim: int = 64

    def __post_init__(self) -> None:
        make_plain(self)
        require(self.optimizer in ("adam", "sgd"), "optimizer is 'adam' or 'sgd'", self.optimizer)
        require(
            self.initialization in ("spectral", "xavier", "gaussian"),
            "initialization is 'spectral', 'xavier' or 'gaussian'",
            self.initialization,
        )
        for name in ("n_negatives", "batch_size", "recent_dim"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, f"{name} >= 1", value)
        for name in ("learning_rate", "learning_rate_decay", "init_rms"):
            value = getattr(self, name)
            require(math.isfinite(value) and value > 0, f"0 < {name} < inf", value)
        for name in ("embedding_dim", "n_recent"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 0, f"{name} >= 0", value)
        require(
            self.embedding_dim >= 1 or self.n_recent >= 1,
            "embedding_dim >= 1 where n_recent is 0",
            self.embedding_dim,
        )
        for name in ("weight_decay", "recency", "recent_decay"):
            value = getattr(self, name)
            require(math.isfinite(value) and value >= 0, f"0 <= {name} < inf", value)
        popular = self.popular_negatives
        require(0 <= popular <= 1, "0 <= popular_negatives <= 1", popular)


DEFAULTS = Hyperparameters(
    embedding_dim=64,
    learning_rate=0.0175,
    learning_rate_decay=0.9,
    n_negatives=12,
    weight_decay=0.007,
    recency=0.6,
    n_recent=8,
    recent_decay=1.25,
    recent_dim=64,
)


def space(trial: optuna.Trial) -> Hyperparameters:
    """Suggests one setting that is trained by "sgd"; experiment files have spaces of their own."""
    return replace(
        DEFAULTS,
        embedding_dim=trial.suggest_categorical("embedding_dim", [32, 64, 128]),
        learning_rate=trial.suggest_float("learning_rate", 5e-3, 5e-2, log=True),
        learning_rate_decay=trial.suggest_float("learning_rate_decay", 0.8, 1.0),
        n_negatives=trial.suggest_int("n_negatives", 3, 16),
        weight_decay=trial.suggest_float("weight_decay", 2e-3, 3e-2, log=True),
        init_rms=trial.suggest_float("init_rms", 0.05, 0.4, log=True),
        popular_negatives=trial.suggest_float("popular_negatives", 0.0, 0.5),
        recency=trial.suggest_float("recency", 0.0, 2.0),
        n_recent=trial.suggest_int("n_recent", 3, 12),
        recent_decay=trial.suggest_float("recent_decay", 0.7, 2.0),
        recent_dim=trial.suggest_categorical("recent_dim", [32, 64, 128]),
    )


def describe(hyperparameters: Hyperparameters) -> str:
    """Returns what tells one trial from another, short enough for a run's name."""
    h = hyperparameters
    recency = f" · recency {h.recency:.2g}" if h.recency > 0 else ""
    recent = f" · last {h.n_recent} in {h.recent_dim}" if h.n_recent else ""
    adam = f" · adam, batch {h.batch_size}" if h.optimizer == "adam" else ""
    return (
        f"dim {h.embedding_dim} · lr {h.learning_rate:.2g} · neg {h.n_negatives}"
        f" · L2 {h.weight_decay:.1g}{recency}{recent}{adam}"
    )
