"""Find the best implicit-feedback recommender for a person's data, honestly and fast.

Importing `ncf` loads nothing heavy, and changes nothing but numba's cache folder where numba would
have none; CONTRIBUTING.md has the tree of its packages. A registered model is asked so from Python:

    import ncf
    model = ncf.load_model()  # the champion that was registered last
    for answer in model.recommend(["196", "7"], k=5):
        print(answer.user_id, answer.known, answer.item_ids, answer.scores, answer.titles)

An experiment file imports `Experiment` and `Hyperparameters` from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ncf.serving import compiled_cache

if TYPE_CHECKING:
    from ncf.models.gmf.setting import Hyperparameters
    from ncf.search.experiment import Experiment
    from ncf.serving.recommender import Recommender

__all__ = ["Experiment", "Hyperparameters", "load_model"]

compiled_cache.choose()


def __getattr__(name: str) -> Any:
    """Loads what an experiment file needs, when it is asked for."""
    if name == "Experiment":
        from ncf.search.experiment import Experiment

        return Experiment
    if name == "Hyperparameters":
        from ncf.models.gmf.setting import Hyperparameters

        return Hyperparameters
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_model(uri: str | None = None, tracking_uri: str | None = None) -> Recommender:
    """Loads a registered or logged model: `models:/NAME/VERSION`, `models:/NAME@champion`.

    Args:
        uri: The model; None means the champion that was registered last.
        tracking_uri: The MLflow store; None means `$MLFLOW_TRACKING_URI`, else mlruns/mlflow.db.

    Raises:
        ValueError: There is no such model.
    """
    from ncf import redaction
    from ncf.tracking import registry, store  # here: MLflow takes seconds to load

    address = tracking_uri or store.default_uri()
    redaction.learn([address])
    try:
        return registry.load(uri, address)[1]
    except Exception as error:
        if redaction.is_clean(error):
            raise
        reason = redaction.one_line(error)
    raise ValueError(reason)  # in place of an error whose traceback shows a password
