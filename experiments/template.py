"""Copy this file, change what differs for you, and run `python search.py --experiment COPY.py`.

An experiment is the data, the defaults, the search space and the budget of a trial. What a file's
columns are called is the command's to say: `--columns user=...,item=...,timestamp=...`. Look at
the data first: `python -m ncf data FILE`.
"""

from __future__ import annotations

from dataclasses import replace

import optuna

from ncf import Experiment, Hyperparameters

# Trial 0 trains these, so that a search never ends below them. `Hyperparameters` documents each
# field; what you leave out keeps its own default.
DEFAULTS = Hyperparameters(
    optimizer="sgd",
    embedding_dim=32,
    learning_rate=0.02,
    n_negatives=8,
    recency=0.6,
    n_recent=6,
    recent_dim=32,
)


def search_space(trial: optuna.Trial) -> Hyperparameters:
    """Suggests one setting: each field under its own name, in a range that holds its default."""
    return replace(
        DEFAULTS,
        # One of a list. Every doubling of the dimension about doubles the time of an epoch.
        embedding_dim=trial.suggest_categorical("embedding_dim", [16, 32, 64]),
        # Between two bounds, evenly in the logarithm. "adam" wants about a tenth of "sgd".
        learning_rate=trial.suggest_float("learning_rate", 5e-3, 5e-2, log=True),
        # A whole number. Each negative costs as much time as a positive.
        n_negatives=trial.suggest_int("n_negatives", 2, 12),
        # The L2 penalty: more of it where users have few interactions, or the dimension is high.
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 5e-2, log=True),
        # What the learning rate is multiplied with after every epoch; 1 keeps it.
        learning_rate_decay=trial.suggest_float("learning_rate_decay", 0.8, 1.0),
        # How large the factors of the spectral start are.
        init_rms=trial.suggest_float("init_rms", 0.05, 0.4, log=True),
        # Share of the negatives that are popular items: it pushes the popular ones down.
        popular_negatives=trial.suggest_float("popular_negatives", 0.0, 0.5),
        # How much more often a user's latest items are trained on: 0 is not at all. Where your
        # file has no times, and its order means nothing, leave it out and set its default to 0.
        recency=trial.suggest_float("recency", 0.0, 2.0),
        # The order of a user's last items: how many of them stand beside the user's own factors,
        # how fast they fade, and in how many dimensions. It is worth most where what a user takes
        # next depends on what they took last; 0 leaves it out, as data without times should.
        n_recent=trial.suggest_int("n_recent", 0, 12),
        recent_decay=trial.suggest_float("recent_decay", 0.7, 2.0),
        recent_dim=trial.suggest_categorical("recent_dim", [16, 32, 64]),
        # A field that is not suggested keeps its default in every trial. To search the optimizer
        # too, and the batch size where it has one:
        #   optimizer=trial.suggest_categorical("optimizer", ["sgd", "adam"]),
        #   batch_size=trial.suggest_categorical("batch_size", [1024, 4096])
    )


experiment = Experiment(
    name="my-data",  # the study and the MLflow experiment are named so
    data="ml-100k",  # a known name, or the path of your file; `--data` names another
    defaults=DEFAULTS,
    search_space=search_space,
    epochs=30,  # at most, per trial: few trials need them all
    patience=4,  # epochs without a better validation nDCG after which a trial stops
    n_sampled_negatives=100,  # untouched items to rank the held-out one among, as papers do
)
