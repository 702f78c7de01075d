"""Every model by name: to add one, write its file or folder and a row here.

Importing this is cheap: what trains a model is imported when it trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ncf.models import ease, ials, item_knn, markov, mixture, popularity, slist
from ncf.models.ease import EASEHyperparameters
from ncf.models.gmf import setting as gmf
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.ials import IALSHyperparameters
from ncf.models.item_knn import ItemKNNHyperparameters
from ncf.models.markov import MarkovHyperparameters
from ncf.models.mixture import MixtureHyperparameters
from ncf.models.model import Epoch, Model
from ncf.models.neumf import setting as neumf
from ncf.models.neumf.setting import MLPHyperparameters, NeuMFHyperparameters, NeuralSetting
from ncf.models.popularity import PopularityHyperparameters
from ncf.models.slist import SLISTHyperparameters
from ncf.protocol.splitting import History

Setting: TypeAlias = (
    Hyperparameters
    | MLPHyperparameters
    | NeuMFHyperparameters
    | PopularityHyperparameters
    | ItemKNNHyperparameters
    | IALSHyperparameters
    | EASEHyperparameters
    | MarkovHyperparameters
    | MixtureHyperparameters
    | SLISTHyperparameters
)


def _fit_gmf(
    history: History,
    setting: Hyperparameters,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[Epoch]:
    from ncf.models.gmf.fit import fit  # numba, which the coordinator of a search does without

    yield from fit(history, setting, epochs=epochs, seed=seed, device=device, starts=starts)


def _fit_neural(
    history: History,
    setting: NeuralSetting,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
) -> Iterator[Epoch]:
    from ncf.models.neumf.fit import fit  # PyTorch, which the coordinator does without

    yield from fit(history, setting, epochs=epochs, seed=seed, device=device, starts=starts)


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model("gmf", "GMF", gmf.DEFAULTS, gmf.space, _fit_gmf),
        Model("mlp", "MLP", neumf.MLP_DEFAULTS, neumf.mlp_space, _fit_neural),
        Model("neumf", "NeuMF", neumf.NEUMF_DEFAULTS, neumf.neumf_space, _fit_neural),
        Model(
            "popularity",
            "popularity",
            PopularityHyperparameters(),
            popularity.space,
            popularity.fit,
            most_epochs=1,
            is_seeded=False,
        ),
        Model(
            "itemknn",
            "item-kNN",
            ItemKNNHyperparameters(recency=1.0),
            item_knn.space,
            item_knn.fit,
            most_epochs=1,
            is_seeded=False,
            check_size=item_knn.check_size,
            most_settings_of_large=item_knn.most_settings_of_large,
        ),
        Model(
            "ials",
            "iALS",
            IALSHyperparameters(recency=1.0),
            ials.space,
            ials.fit,
            most_epochs=1,
            check_size=ials.check_size,
            most_settings_of_large=ials.most_settings_of_large,
        ),
        Model(
            "ease",
            "EASE",
            EASEHyperparameters(recency=1.0),
            ease.space,
            ease.fit,
            most_epochs=1,
            is_seeded=False,
            check_size=ease.check_size,
            most_settings=ease.most_settings,
        ),
        Model(
            "markov",
            "Markov",
            MarkovHyperparameters(),
            markov.space,
            markov.fit,
            most_epochs=1,
            is_seeded=False,
            check_size=markov.check_size,
        ),
        Model(
            "mixture",
            "mixture",
            MixtureHyperparameters(),
            mixture.space,
            mixture.fit,
            most_epochs=1,
            check_size=markov.check_size,
            most_settings=mixture.most_settings,
            most_settings_of_large=mixture.most_settings_of_large,
        ),
        Model(
            "slist",
            "SLIST",
            SLISTHyperparameters(),
            slist.space,
            slist.fit,
            most_epochs=1,
            is_seeded=False,
            check_size=slist.check_size,
            most_settings=slist.most_settings,
        ),
    )
}
BASELINES = ("popularity", "itemknn", "ials", "ease", "markov", "mixture", "slist")


def title(name: str) -> str:
    """Returns what a person reads in place of a name that options and records have: "EASE"."""
    return MODELS[name].title if name in MODELS else name


def model_of(setting: Setting) -> Model:
    """Returns the model that a setting is of."""
    return next(model for model in MODELS.values() if type(model.defaults) is type(setting))


def fit(
    history: History,
    setting: Setting,
    *,
    epochs: int,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    starts: Path | None = None,
    beside: Path | None = None,
) -> Iterator[Epoch]:
    """Yields a usable model of the setting after every epoch, as `ncf.models.model.Fit` says.

    `beside` is the file of the model that a mixture is of, as `ncf.models.mixture.fit` says.
    """
    n_epochs = epochs_of(setting, epochs)
    if isinstance(setting, MixtureHyperparameters):
        return mixture.fit(history, setting, epochs=n_epochs, seed=seed, beside=beside)
    return model_of(setting).fit(
        history, setting, epochs=n_epochs, seed=seed, device=device, starts=starts
    )


def epochs_of(setting: Setting, epochs: int) -> int:
    """Returns how many epochs `fit` yields where it is asked for this many."""
    most = model_of(setting).most_epochs
    return epochs if most is None else min(epochs, most)


def setting_of(name: str, values: Mapping[str, Any]) -> Setting:
    """Returns a recorded setting of a model, by its fields.

    A field that the record lacks takes the default of its type, which means what the model did
    before the field existed. Text, as MLflow keeps parameters, becomes what the field is.

    Raises:
        ValueError: No model has the name, or a value breaks a rule of the setting.
    """
    if name not in MODELS:
        raise ValueError(f"no model {name!r}: known are {', '.join(MODELS)}")
    kind = type(MODELS[name].defaults)
    usual = kind()
    chosen: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in values:
            value, default = values[field.name], getattr(usual, field.name)
            if isinstance(value, str) and not isinstance(default, str):
                value = value == "True" if isinstance(default, bool) else type(default)(value)
            chosen[field.name] = value
    setting: Setting = kind(**chosen)
    return setting


def describe(setting: Setting) -> str:
    """Returns what tells one setting from another, short enough for a run's name."""
    if isinstance(setting, Hyperparameters):
        return gmf.describe(setting)
    if isinstance(setting, MLPHyperparameters | NeuMFHyperparameters):
        return neumf.describe(setting)
    values = ((field.name, getattr(setting, field.name)) for field in fields(setting))
    words = [f"{name} {v:.2g}" if isinstance(v, float) else f"{name} {v}" for name, v in values]
    return " · ".join(words)


def compile_kernels() -> None:
    """Fills numba's cache on disk, from which other processes then load all compiled code.

    Workers call it before their first trial, so that its seconds do not hold a compilation.
    """
    from ncf.models import pairs, positives
    from ncf.models.gmf import sgd
    from ncf.serving import compiled

    sgd.compile_kernels()
    compiled.compile_kernel()
    positives.compile_kernel()
    pairs.compile_kernels()
