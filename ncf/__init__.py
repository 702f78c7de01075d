"""Find the best implicit-feedback recommender for a person's data, honestly and fast.

Importing `ncf` loads nothing and changes nothing; each module says in its first lines what its
one job is. CONTRIBUTING.md has the file tree. From Python, a registered model is asked so:

    import ncf
    model = ncf.load_model()  # the champion that was registered last
    for answer in model.recommend(["196", "7"], k=5):
        print(answer.user_id, answer.known, answer.item_ids, answer.scores, answer.titles)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ncf.serving.recommender import Recommender


def load_model(uri: str | None = None, tracking_uri: str | None = None) -> Recommender:
    """Loads a registered or logged model: `models:/NAME/VERSION`, `models:/NAME@champion`.

    Args:
        uri: The model; None means the champion that was registered last.
        tracking_uri: The MLflow store; None means `$MLFLOW_TRACKING_URI`, else mlruns/mlflow.db.

    Raises:
        ValueError: There is no such model.
    """
    from ncf.tracking import (
        registry,  # here: MLflow takes seconds to load
        store,  # here: MLflow takes seconds to load
    )

    return registry.load(uri, tracking_uri or store.default_uri())[1]
