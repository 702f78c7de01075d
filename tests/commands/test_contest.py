"""Which models are in a study's contest, with workers whose outcomes are planted."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncf.commands.contest import winner_first
from ncf.commands.options import Options
from ncf.protocol.splitting import Split
from ncf.study.confirmation import choose
from tests.study.planted import AnsweringWorkers, outcome, plan_of, study_with


@pytest.mark.parametrize(
    "asked", [("popularity", "ease"), ("ease", "popularity"), ("popularity",), ()]
)
def test_those_of_the_contest_before_are_the_same_in_whatever_order_they_are_asked_for(
    asked: tuple[str, ...], split: Split, tmp_path: Path
) -> None:
    """Else all would be fitted and read on test again, for the same results."""
    study, plan = study_with([0.3, 0.4], tmp_path), plan_of(split)
    workers = AnsweringWorkers(lambda task: outcome(task.number, 0.2))

    def contest(baselines: tuple[str, ...]) -> list[str]:
        options = Options(confirm=0, baselines=baselines)
        found = winner_first(choose(study, []), study, plan, workers, tmp_path, options)
        names = [one.name for one in found]
        study.set_user_attr("conclusion", {"results": [{"name": name} for name in names]})
        return names

    assert contest(("ease",)) == ["GMF", "ease"]
    assert contest(("popularity",)) == ["GMF", "ease", "popularity"]
    assert contest(asked) == ["GMF", "ease", "popularity"]
