"""Find the best implicit-feedback recommender for a person's data, honestly and fast.

Importing `ncf` loads nothing heavy, and changes nothing but numba's cache folder where numba would
have none; CONTRIBUTING.md has the tree of its packages. From Python a study is searched, and its
winner asked, so:

    import ncf
    study = ncf.search("ml-100k", trials=50)  # or a pandas table and study="NAME"
    print(study.verdict)
    print(study.results[["name", "ndcg_10", "lead", "p_value"]])  # and study.trials
    for answer in study.load_model().recommend(["196", "7"], k=5):
        print(answer.user_id, answer.known, answer.item_ids, answer.scores, answer.titles)

`ncf.load_study("NAME")` reads a study again, `ncf.load_model()` loads the champion that was
registered last. An experiment file imports `Experiment` and `Hyperparameters` from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ncf.serving import compiled_cache

if TYPE_CHECKING:
    from ncf.commands.from_python import Study, load_model, load_study, search
    from ncf.models.gmf.setting import Hyperparameters
    from ncf.study.experiment import Experiment

__all__ = [
    "Experiment",
    "Hyperparameters",
    "Study",
    "load_model",
    "load_study",
    "search",
]

compiled_cache.choose()


def __getattr__(name: str) -> Any:
    """Loads what is asked for, and no more."""
    if name == "Experiment":
        from ncf.study.experiment import Experiment

        return Experiment
    if name == "Hyperparameters":
        from ncf.models.gmf.setting import Hyperparameters

        return Hyperparameters
    if name in ("Study", "load_model", "load_study", "search"):
        from ncf.commands import from_python

        return getattr(from_python, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
