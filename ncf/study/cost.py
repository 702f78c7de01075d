"""What a study has cost so far: the processor's time and an estimate of its energy.

Processor seconds are those of all threads of the workers, in training and judging, from the record;
those of trials that failed or were killed, of the last fits and of the coordinator are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from ncf.study import journal, mixing
from ncf.study.baselines import record_of
from ncf.study.results import Contestant

WATTS = 10.0  # of a busy core with its share of memory and supply; a rough figure, not measured


@dataclass(frozen=True)
class Cost:
    """Processor seconds, by what they were spent on: "trials", and each baseline by its name.

    Fresh seeds are in those of the model that was trained again. Nothing is in it of records that
    were made before processor seconds were kept.
    """

    seconds: dict[str, float]

    @property
    def total(self) -> float:
        """Processor seconds of the study with its baselines."""
        return sum(self.seconds.values())

    @property
    def watt_hours(self) -> float:
        """Energy at `WATTS` for each busy core."""
        return self.total * WATTS / 3600


def cost_of(study: optuna.Study, contestants: Sequence[Contestant]) -> Cost:
    """Returns what a study has cost: its trials, and the tuning of the other contestants."""
    best_trial = next(one for one in contestants if one.is_trial)
    records = {"trials": study}
    for one in contestants:
        if one.name == mixing.NAME:
            records[one.name] = mixing.record_of(best_trial, study)
        elif not one.is_trial:
            records[one.name] = record_of(one.name, study)
    seconds = {name: _of_record(record) for name, record in records.items()}
    return Cost({name: value for name, value in seconds.items() if value > 0})


def _of_record(record: optuna.Study) -> float:
    """Returns the processor seconds of a record's trials and of their fresh seeds."""
    trials: list[FrozenTrial] = record.get_trials(deepcopy=False)
    trained = sum(
        journal.outcome_of(trial).processor_seconds for trial in trials if journal.is_trained(trial)
    )
    again: dict[str, dict[str, dict[str, float]]] = record.user_attrs.get("confirmation", {})
    seeds = [outcome for one in again.values() for outcome in one.values()]
    return trained + sum(outcome.get("processor_seconds", 0.0) for outcome in seeds)
