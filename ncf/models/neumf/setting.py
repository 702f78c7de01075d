"""The hyperparameters of MLP and of NeuMF: what a trial may vary, checked where they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ncf.models.model import make_plain, require

if TYPE_CHECKING:
    import optuna

Initialization: TypeAlias = Literal["spectral", "gaussian"]


@dataclass(frozen=True)
class MLPHyperparameters:
    """One setting of MLP, which is trained by minibatches of Adam.

    Attributes:
        mlp_dim: M, the number of factors of a user and of an item, which enter the first layer
            together, 2 M wide.
        n_layers: Hidden layers, of M, M / 2, M / 4, ... units.
        initialization: "gaussian" starts from embeddings of N(0, 0.01^2), as the authors' code;
            "spectral" from a truncated SVD.
        init_rms: Root mean square of the embeddings of a spectral start.
        learning_rate: Step size of the first epoch.
        learning_rate_decay: Factor on the learning rate after every epoch.
        weight_decay: L2 penalty of every parameter at every step.
        n_negatives: N, negatives drawn for each positive and epoch.
        batch_size: Samples (user-item pairs) per step.
        popular_negatives: Share of the negatives drawn in proportion to the items' popularity.
        recency: g, by which an epoch visits a user's a-th latest item in proportion to a^-g.
    """

    mlp_dim: int = 32
    n_layers: int = 3
    initialization: Initialization = "spectral"
    init_rms: float = 0.3
    learning_rate: float = 3e-3
    learning_rate_decay: float = 0.9
    weight_decay: float = 1e-6
    n_negatives: int = 8
    batch_size: int = 8192
    popular_negatives: float = 0.0
    recency: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)
        _check(self)


@dataclass(frozen=True)
class NeuMFHyperparameters:
    """One setting of NeuMF; attributes that are not named here are those of MLP.

    Attributes:
        embedding_dim: D, the number of factors of its GMF part.
        pretraining_epochs: Epochs that a GMF and an MLP are trained for first, each by itself, for
            NeuMF to start from (section 3.4.1 of the paper, with alpha = 0.5); 0 starts it as the
            others do.
    """

    embedding_dim: int = 32
    mlp_dim: int = 32
    n_layers: int = 3
    pretraining_epochs: int = 0
    initialization: Initialization = "spectral"
    init_rms: float = 0.3
    learning_rate: float = 3e-3
    learning_rate_decay: float = 0.9
    weight_decay: float = 1e-6
    n_negatives: int = 8
    batch_size: int = 8192
    popular_negatives: float = 0.0
    recency: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)
        _check(self)
        value = self.embedding_dim
        require(isinstance(value, int) and value >= 1, "embedding_dim >= 1", value)
        require(self.pretraining_epochs >= 0, "pretraining_epochs >= 0", self.pretraining_epochs)


NeuralSetting: TypeAlias = MLPHyperparameters | NeuMFHyperparameters


def mlp_space(trial: optuna.Trial) -> MLPHyperparameters:
    """Suggests one setting of MLP."""
    return MLPHyperparameters(
        mlp_dim=trial.suggest_categorical("mlp_dim", [16, 32, 64]),
        n_layers=trial.suggest_int("n_layers", 1, 3),
        init_rms=trial.suggest_float("init_rms", 0.05, 0.8, log=True),
        learning_rate=trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
        learning_rate_decay=trial.suggest_float("learning_rate_decay", 0.7, 1.0),
        weight_decay=trial.suggest_float("weight_decay", 1e-7, 1e-4, log=True),
        n_negatives=trial.suggest_int("n_negatives", 3, 16),
        batch_size=trial.suggest_categorical("batch_size", [2048, 4096, 8192, 16384]),
        popular_negatives=trial.suggest_float("popular_negatives", 0.0, 0.5),
        recency=trial.suggest_float("recency", 0.0, 2.0),
    )


def neumf_space(trial: optuna.Trial) -> NeuMFHyperparameters:
    """Suggests one setting of NeuMF."""
    mlp = mlp_space(trial)
    return NeuMFHyperparameters(
        embedding_dim=trial.suggest_categorical("embedding_dim", [32, 64, 128]),
        pretraining_epochs=trial.suggest_categorical("pretraining_epochs", [0, 5]),
        **vars(mlp),
    )


def describe(setting: NeuralSetting) -> str:
    """Returns what tells one setting from another, short enough for a run's name."""
    gmf = f"dim {setting.embedding_dim} + " if isinstance(setting, NeuMFHyperparameters) else ""
    recency = f" · recency {setting.recency:.2g}" if setting.recency > 0 else ""
    return (
        f"{gmf}mlp {setting.mlp_dim}, {setting.n_layers} layers · lr {setting.learning_rate:.2g}"
        f" · neg {setting.n_negatives} · L2 {setting.weight_decay:.1g}{recency}"
        f" · batch {setting.batch_size}"
    )


def _check(setting: NeuralSetting) -> None:
    known = ("spectral", "gaussian")
    rule = f"initialization in {known}"
    require(setting.initialization in known, rule, setting.initialization)
    for name in ("mlp_dim", "n_layers", "n_negatives", "batch_size"):
        value = getattr(setting, name)
        require(isinstance(value, int) and value >= 1, f"{name} >= 1", value)
    n_halvings = setting.n_layers - 1
    require(
        setting.mlp_dim >= 2**n_halvings, f"mlp_dim >= 2^(n_layers - 1) = {2**n_halvings}",
        setting.mlp_dim,
    )  # fmt: skip
    for name in ("learning_rate", "learning_rate_decay", "init_rms"):
        value = getattr(setting, name)
        require(math.isfinite(value) and value > 0, f"0 < {name} < inf", value)
    for name in ("weight_decay", "recency"):
        value = getattr(setting, name)
        require(math.isfinite(value) and value >= 0, f"0 <= {name} < inf", value)
    popular = setting.popular_negatives
    require(0 <= popular <= 1, "0 <= popular_negatives <= 1", popular)


MLP_DEFAULTS = MLPHyperparameters(recency=1.0)
NEUMF_DEFAULTS = NeuMFHyperparameters(recency=1.0)
