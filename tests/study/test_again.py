"""Trials that are trained again for their weights: as they were, or not kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ncf.protocol.seeds import Purpose, spawn
from ncf.protocol.splitting import Split
from ncf.study.again import train_again
from ncf.trials.messages import Failure, Outcome, Task
from tests.study.planted import AnsweringWorkers, outcome, plan_of, study_with


def test_each_is_trained_as_it_was_and_what_comes_out_otherwise_is_not_kept(
    split: Split, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = [0.1, 0.2, 0.3]

    def answer(task: Any) -> Outcome | Failure:
        assert isinstance(task, Task)
        assert task.weights is not None
        task.weights.write_text("weights")
        if task.number == 2:
            return Failure(2, "ValueError: no")
        return replace(outcome(task.number, 0.1 + task.number), metrics={"ndcg_10": 0.1})

    workers = AnsweringWorkers(answer)
    trials = study_with(values).get_trials()[:3]
    plan = plan_of(split)
    found = train_again(
        trials, plan, workers, lambda number: tmp_path / f"{number}.safetensors", lambda: False
    )
    assert sorted(found) == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["0.safetensors"]
    assert caplog.text.count("did not come out again as it is recorded") == 2
    for task in workers.tasks:
        assert isinstance(task, Task)
        assert (task.epochs, task.patience) == (9, 9)  # the epochs that it had
        assert task.setting.embedding_dim == 10 + task.number  # type: ignore[union-attr]
        expected = spawn(plan.settings.seed, Purpose.TRIAL, task.number)
        assert (task.seed.entropy, task.seed.spawn_key) == (expected.entropy, expected.spawn_key)
