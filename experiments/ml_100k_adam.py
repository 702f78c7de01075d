"""GMF on MovieLens 100K the paper's way: Xavier start, learned output weights, Adam."""

from __future__ import annotations

from dataclasses import replace

import optuna

from ncf import Experiment, Hyperparameters

DEFAULTS = Hyperparameters(
    optimizer="adam",
    initialization="xavier",
    embedding_dim=32,
    learning_rate=2e-3,
    learning_rate_decay=1.0,
    weight_decay=1e-6,
    learn_output_weight=True,
)


def search_space(trial: optuna.Trial) -> Hyperparameters:
    """Suggests one setting."""
    return replace(
        DEFAULTS,
        embedding_dim=trial.suggest_categorical("embedding_dim", [16, 32, 64]),
        learning_rate=trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
        n_negatives=trial.suggest_int("n_negatives", 2, 12),
        batch_size=trial.suggest_categorical("batch_size", [512, 1024, 2048, 4096]),
        weight_decay=trial.suggest_float("weight_decay", 1e-7, 1e-4, log=True),
    )


experiment = Experiment(
    name="ml-100k-adam", data="ml-100k", defaults=DEFAULTS, search_space=search_space
)
