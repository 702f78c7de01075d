"""GMF on the NCF paper's own split of MovieLens 1M, to be held against published numbers.

    python search.py --experiment experiments/ncf_ml_1m.py --trials 50

Data: the files of He et al. (WWW 2017): ml-1m.train.rating, ml-1m.test.rating, ml-1m.test.negative.
Everything is chosen on validation, which is each user's last train interaction against 99 items
that the user never touched; test, with the 99 given negatives, is read once.
"""

from __future__ import annotations

from dataclasses import replace

import optuna

from ncf import Experiment, Hyperparameters

# From the winner of an earlier study of 40 trials, on validation (commit f5dd7a9).
DEFAULTS = Hyperparameters(
    embedding_dim=128,
    learning_rate=0.012,
    learning_rate_decay=0.87,
    n_negatives=3,
    weight_decay=0.0085,
    init_rms=0.2,
    popular_negatives=0.07,
    recency=1.9,
)


def search_space(trial: optuna.Trial) -> Hyperparameters:
    """Suggests one setting."""
    return replace(
        DEFAULTS,
        embedding_dim=trial.suggest_categorical("embedding_dim", [64, 96, 128, 192]),
        learning_rate=trial.suggest_float("learning_rate", 0.01, 0.08, log=True),
        learning_rate_decay=trial.suggest_float("learning_rate_decay", 0.7, 0.95),
        n_negatives=trial.suggest_int("n_negatives", 3, 12),
        weight_decay=trial.suggest_float("weight_decay", 3e-3, 3e-2, log=True),
        popular_negatives=trial.suggest_float("popular_negatives", 0.0, 0.5),
        recency=trial.suggest_float("recency", 0.0, 2.0),
        init_rms=trial.suggest_float("init_rms", 0.1, 1.0, log=True),
    )


experiment = Experiment(
    name="ncf-ml-1m",
    data="ncf-ml-1m",
    defaults=DEFAULTS,
    search_space=search_space,
    epochs=20,
    n_sampled_negatives=99,
)
