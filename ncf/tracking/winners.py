"""How the model of a study's winner is told from those of other winners of the same study.

A key names the trial that found the winner and the epochs that it is trained for. Those of a
mixture are no more than its place among the mixtures with one best trial, so that the key names
that trial and its epochs too. Earlier versions of this program left them out.
"""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ncf.study import mixing
from ncf.study.results import Conclusion
from ncf.tracking.tag_names import key_of

_WINNER, _MIXED = "winner", "@"  # what a key begins with, and what is before that of the best trial


def key_of_winner(conclusion: Conclusion) -> str:
    """Returns the key of the winner's model: equal for equal models, else another.

    It is `winner-7-12` for trial 7, trained for 12 epochs, `winner-ease-3-0` for another model,
    and `winner-mixture-4-0@7-12` for the mixture with such a trial.
    """
    winner, best = conclusion.winner, conclusion.best_trial
    of_others = "" if winner.is_trial else f"{winner.name}-"
    mixed = f"{_MIXED}{best.number}-{best.epochs}" if winner.name == mixing.NAME else ""
    return f"{_WINNER}-{of_others}{winner.number}-{winner.epochs}{mixed}"


def parts_of(key: str) -> tuple[str, str]:
    """Returns the name of the model that a winner's key names, and the number of its trial.

    The name is empty where the winner is a trial of the study.

    Raises:
        ValueError: It is not the key of a winner.
    """
    kind, *rest = key.partition(_MIXED)[0].split("-")
    if kind != _WINNER or len(rest) not in (2, 3):
        raise ValueError(f"{key}: not the key of a winner")
    return (rest[0] if len(rest) == 3 else ""), rest[-2]


def is_of_another(client: MlflowClient, model_id: str, at: float) -> bool:
    """Returns whether a winner's model may be another mixture than the one that won.

    So it may where its key does not name the best trial, and it was made before test was read of
    the winner: then an earlier version of this program has taken one for the other. Where the store
    does not answer just now, which must not end a search, it counts as the one that won.

    Args:
        client: A client of the store, which has the model.
        model_id: The id of the model.
        at: When test was read of the winner, in seconds since 1970.
    """
    try:
        model = client.get_logged_model(model_id)
    except MlflowException:
        return False
    key = key_of(model.tags)
    is_told = _MIXED in key or not key.startswith(f"{_WINNER}-{mixing.NAME}-")
    return not is_told and model.creation_timestamp < at * 1000
