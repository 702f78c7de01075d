"""The tags of a study's runs and models: those that a person reads, and those for this program.

MLflow's UI hides the tags whose names begin with `mlflow.`, so those that only this program reads
have such names. Earlier versions of it gave them other names, which what they wrote keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STUDY_TAG, TRIAL_TAG = "ncf.study", "ncf.trial"  # the name of the study; the number of the trial
STATE_TAG = "ncf.state"  # of a run: whether its trial finished, was pruned or failed
MODEL_TAG = "ncf.model"  # the name of a trial's model in the table of models
REASON_TAG = "ncf.reason"  # why a trial failed
READINGS_TAG = "ncf.test_readings"  # when a study read test, which contestants, and why
WINNER_TAG = "winner"  # of the run of a study's winner: its registered version
PARENT_TAG, NOTE_TAG = "mlflow.parentRunId", "mlflow.note.content"  # which MLflow knows

_HIDDEN = "mlflow."
_KEY, _KEPT = "ncf.key", "ncf.kept."


@dataclass(frozen=True)
class FindingTags:
    """The names of the two tags by which a run is found again.

    Attributes:
        study_id: Holds the id of the study in its record, which no other study has.
        key: Holds what identifies the run among those of the study.
    """

    study_id: str
    key: str


EARLIER = FindingTags("ncf.study_id", _KEY)
PRESENT = FindingTags(_HIDDEN + EARLIER.study_id, _HIDDEN + EARLIER.key)


def of_key(key: str) -> dict[str, str]:
    """Returns the tag of a logged model that identifies it among those of its run."""
    return {PRESENT.key: key}


def key_of(tags: Mapping[str, str]) -> str:
    """Returns what identifies a run or a model, given its tags; empty for none."""
    return tags.get(PRESENT.key, tags.get(EARLIER.key, ""))


def of_kept(file: str) -> dict[str, str]:
    """Returns the tag of a study's run that says that it has the whole of a file."""
    return {f"{_HIDDEN}{_KEPT}{file}": "whole"}


def is_kept(file: str, tags: Mapping[str, str]) -> bool:
    """Returns whether a study's run has the whole of a file, given its tags."""
    return f"{_HIDDEN}{_KEPT}{file}" in tags or f"{_KEPT}{file}" in tags
