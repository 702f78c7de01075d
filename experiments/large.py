"""GMF for tens of millions of interactions: two epochs a trial, and a space of quick settings.

On so many interactions two epochs learn what takes twenty on a hundred thousand, and each costs
some ten seconds. Measured in RESULTS.md, under "Large data".
"""

from __future__ import annotations

from dataclasses import replace

import optuna

from ncf import Experiment, Hyperparameters

DEFAULTS = Hyperparameters(
    embedding_dim=32,
    learning_rate=0.02,
    n_negatives=4,
    recency=0.5,
    n_recent=3,
    recent_dim=16,
)


def search_space(trial: optuna.Trial) -> Hyperparameters:
    """Suggests one setting."""
    return replace(
        DEFAULTS,
        embedding_dim=trial.suggest_categorical("embedding_dim", [16, 32]),
        learning_rate=trial.suggest_float("learning_rate", 5e-3, 5e-2, log=True),
        n_negatives=trial.suggest_int("n_negatives", 2, 6),
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 3e-2, log=True),
        init_rms=trial.suggest_float("init_rms", 0.05, 0.4, log=True),
        popular_negatives=trial.suggest_float("popular_negatives", 0.0, 0.5),
        recency=trial.suggest_float("recency", 0.0, 2.0),
        n_recent=trial.suggest_int("n_recent", 0, 4),
        recent_decay=trial.suggest_float("recent_decay", 0.5, 2.0),
        recent_dim=trial.suggest_categorical("recent_dim", [16, 32]),
    )


experiment = Experiment(
    name="large", data="ml-latest", defaults=DEFAULTS, search_space=search_space, epochs=2
)
