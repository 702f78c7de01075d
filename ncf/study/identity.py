"""What a study's identity says, as it is recorded or among the parameters of its run in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ncf.protocol.metrics import Objective

FULL_USERS = "full_users"  # its key for the size of a sample, where there is one


def n_negatives_of(identity: Mapping[str, Any]) -> int:
    """Returns the recorded number of sampled negatives, which older records call `n_candidates`."""
    name = "n_sampled_negatives"
    return int(identity[name if name in identity else "n_candidates"])


def full_users_of(identity: Mapping[str, Any]) -> int | None:
    """Returns the recorded size of the sample; None where all users are ranked in full."""
    return int(identity[FULL_USERS]) if FULL_USERS in identity else None


def recorded_lag(identity: Mapping[str, Any] | None) -> int | None:
    """Returns the recorded lag; None where there is no record, or none of it in the record."""
    lag = None if identity is None else identity.get("lag")
    return None if lag is None else int(lag)


def objective_of(identity: Mapping[str, Any]) -> Objective:
    """Returns the recorded objective, given a study's identity or the parameters of its run."""
    return Objective(str(identity.get("objective", Objective.metric)), int(identity["k"]))
