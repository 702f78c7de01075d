"""GMF with recent items on MovieLens 100K: the default of `search.py`."""

from __future__ import annotations

from dataclasses import replace

import optuna

from ncf import Experiment, Hyperparameters

DEFAULTS = Hyperparameters(
    embedding_dim=64,
    recent_dim=64,
    n_recent=8,
    recent_decay=1.25,
    recency=0.5,
    learning_rate=0.025,
    learning_rate_decay=0.9,
    n_negatives=6,
    weight_decay=0.01,
    init_rms=0.2,
    popular_negatives=0.1,
)


def search_space(trial: optuna.Trial) -> Hyperparameters:
    """Suggests one setting."""
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
        n_recent=trial.suggest_int("n_recent", 0, 16),
        recent_decay=trial.suggest_float("recent_decay", 0.5, 2.0),
        recent_dim=trial.suggest_categorical("recent_dim", [32, 64, 128]),
    )


experiment = Experiment(
    name="ml-100k", data="ml-100k", defaults=DEFAULTS, search_space=search_space
)
