r"""GMF-8 as the NCF paper trained it, on the paper's split: one trial, nothing searched.

    python search.py --experiment experiments/ncf_ml_1m_gmf8.py --trials 1 --confirm 0 \
        --baselines none

He et al. (WWW 2017): 8 factors, 4 negatives, Adam at 0.001 in batches of 256, no L2, and the start
of their code. Their own pretrained GMF-8 scores HR@10 0.6368 and nDCG@10 0.3691 on these files,
ties against.
"""

from __future__ import annotations

import optuna

from ncf import Experiment, Hyperparameters

PAPER = Hyperparameters(
    optimizer="adam",
    initialization="gaussian",
    embedding_dim=8,
    learning_rate=1e-3,
    learning_rate_decay=1.0,
    weight_decay=0.0,
    n_negatives=4,
    batch_size=256,
    learn_output_weight=True,
    learn_item_bias=False,
)


def search_space(trial: optuna.Trial) -> Hyperparameters:
    """Suggests the paper's setting."""
    return PAPER


experiment = Experiment(
    name="ncf-ml-1m-gmf8",
    data="ncf-ml-1m",
    defaults=PAPER,
    search_space=search_space,
    epochs=100,  # as the authors
    patience=10,
    n_sampled_negatives=99,
)
