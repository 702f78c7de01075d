"""What a study has cost, from its record and those of its baselines."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import create_trial

from ncf.models.gmf.setting import Hyperparameters
from ncf.study.baselines import record_of
from ncf.study.cost import cost_of
from ncf.study.results import Contestant
from tests.study.planted import outcome, study_with

GMF = Contestant("GMF", 1, Hyperparameters(), {}, 3, {}, "trial 1")
IALS = replace(GMF, name="ials", is_trial=False)


def add(record: optuna.Study, seconds: float) -> None:
    ended = asdict(replace(outcome(0, 0.3), processor_seconds=seconds))
    record.add_trial(create_trial(value=0.3, user_attrs={"outcome": ended}))


def test_trials_fresh_seeds_and_baselines_are_summed(tmp_path: Path) -> None:
    study = study_with([0.3, 0.4], tmp_path)  # and a trial that failed
    assert cost_of(study, [GMF, IALS]).seconds == {}  # an old record has no processor seconds
    add(study, 30.0)
    add(study, 12.0)
    again = asdict(replace(outcome(0, 0.3), processor_seconds=5.0))
    old = {name: value for name, value in again.items() if name != "processor_seconds"}
    study.set_user_attr("confirmation", {"1": {"0": again, "1": again}, "0": {"0": old}})
    add(record_of("ials", study), 308.0)
    cost = cost_of(study, [GMF, IALS])
    assert cost.seconds == {"trials": 52.0, "ials": 308.0}
    assert cost.total == 360.0
    assert cost.watt_hours == pytest.approx(1.0)  # 10 W for a tenth of an hour
