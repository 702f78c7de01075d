"""GMF with recent items on MovieLens 1M.

python search.py --experiment experiments/ml_1m.py --trials 50
"""

from __future__ import annotations

from dataclasses import replace

import optuna

from ncf import Experiment, Hyperparameters

DEFAULTS = Hyperparameters(
    embedding_dim=64,
    recent_dim=128,
    n_recent=8,
    recent_decay=1.25,
    recency=0.5,
    learning_rate=0.02,
    learning_rate_decay=0.8,
    n_negatives=8,
    weight_decay=0.007,
    init_rms=0.3,
    popular_negatives=0.1,
)


def search_space(trial: optuna.Trial) -> Hyperparameters:
    """Suggests one setting."""
    return replace(
        DEFAULTS,
        embedding_dim=trial.suggest_categorical("embedding_dim", [32, 64, 128]),
        learning_rate=trial.suggest_float("learning_rate", 0.006, 0.06, log=True),
        learning_rate_decay=trial.suggest_float("learning_rate_decay", 0.7, 0.95),
        n_negatives=trial.suggest_int("n_negatives", 3, 16),
        weight_decay=trial.suggest_float("weight_decay", 2e-3, 2e-2, log=True),
        popular_negatives=trial.suggest_float("popular_negatives", 0.0, 0.5),
        recency=trial.suggest_float("recency", 0.0, 2.0),
        n_recent=trial.suggest_int("n_recent", 0, 16),
        recent_decay=trial.suggest_float("recent_decay", 0.5, 2.0),
        recent_dim=trial.suggest_categorical("recent_dim", [64, 128]),
        init_rms=trial.suggest_float("init_rms", 0.1, 1.0, log=True),
    )


experiment = Experiment(
    name="ml-1m", data="ml-1m", defaults=DEFAULTS, search_space=search_space, epochs=20
)
