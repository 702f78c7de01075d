"""The command `trials` of studies that came to little."""

from __future__ import annotations

from dataclasses import asdict

import optuna
import pytest
from optuna.trial import TrialState

from ncf.commands import trials
from ncf.trials.messages import Failure


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(study_name="shop", direction="maximize")


def test_trials_that_all_failed_are_listed_with_their_reasons(
    study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        trial = study.ask()
        trial.set_user_attr("failure", asdict(Failure(number, f"no memory {number}")))
        trial.set_user_attr("hyperparameters", {"epochs": 3 + number})
        study.tell(trial, state=TrialState.FAIL)
    trials.show(study, None, only_changed=False, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "number,model,state,reason,epochs",
        "0,GMF,fail,no memory 0,3",
        "1,GMF,fail,no memory 1,4",
    ]


def test_a_study_without_trials_has_no_last_one(study: optuna.Study) -> None:
    with pytest.raises(ValueError, match="study shop has no trial 0: it has none yet"):
        trials.show_two(study, [0, 1], None, as_json=False)
