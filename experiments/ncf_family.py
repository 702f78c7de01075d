"""The three models of He et al. (WWW 2017), GMF, MLP and NeuMF, in one search on MovieLens 100K.

    python search.py --experiment experiments/ncf_family.py --trials 60

Each trial is of one of them, which the sampler chooses as it chooses any other parameter. Give
`--data` another data set.
"""

from __future__ import annotations

import optuna

from ncf import Experiment
from ncf.models.table import MODELS, Setting


def search_space(trial: optuna.Trial) -> Setting:
    """Suggests a model, and then a setting of it."""
    name = trial.suggest_categorical("model", ["gmf", "mlp", "neumf"])
    setting: Setting = MODELS[name].space(trial)
    return setting


experiment = Experiment(
    name="ncf-family",
    data="ml-100k",
    defaults=MODELS["gmf"].defaults,
    search_space=search_space,
)
