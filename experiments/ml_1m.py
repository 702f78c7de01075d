"""GMF on MovieLens 1M: `python search.py --experiment experiments/ml_1m.py --trials 50`."""

from __future__ import annotations

from dataclasses import replace

import optuna

from ncf import Experiment, Hyperparameters

DEFAULTS = Hyperparameters(
    learning_rate=0.04,
    learning_rate_decay=0.85,
    n_negatives=8,
    weight_decay=0.012,
    init_rms=0.4,
    popular_negatives=0.2,
    recency=1.0,
)


def search_space(trial: optuna.Trial) -> Hyperparameters:
    """Suggests one setting."""
    return replace(
        DEFAULTS,
        embedding_dim=trial.suggest_categorical("embedding_dim", [32, 64, 128]),
        learning_rate=trial.suggest_float("learning_rate", 0.01, 0.08, log=True),
        learning_rate_decay=trial.suggest_float("learning_rate_decay", 0.7, 0.95),
        n_negatives=trial.suggest_int("n_negatives", 3, 12),
        weight_decay=trial.suggest_float("weight_decay", 3e-3, 3e-2, log=True),
        popular_negatives=trial.suggest_float("popular_negatives", 0.0, 0.5),
        recency=trial.suggest_float("recency", 0.0, 2.0),
        init_rms=trial.suggest_float("init_rms", 0.1, 1.0, log=True),
    )


experiment = Experiment(
    name="ml-1m", data="ml-1m", defaults=DEFAULTS, search_space=search_space, epochs=20
)
