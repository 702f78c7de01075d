"""Messages survive the way between processes: files, pipes and the journal's JSON."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.metrics import Objective
from ncf.protocol.splitting import HeldOut, History, Split
from ncf.protocol.time_split import split_by_time
from ncf.trials.data import TrialData
from ncf.trials.messages import EpochReport, Failure, Outcome, Task
from tests.conftest import planted

TASK = Task(
    3,
    Hyperparameters(),
    np.random.SeedSequence(1),
    30,
    4,
    Objective(),
    "cpu",
    (0.1, 0.2),
    Path("weights"),
)
REPORT = EpochReport(3, 1, 1.7e9, 0.69, 0.01, 100, {"ndcg_10": 0.3})
OUTCOME = Outcome(3, False, 5, 4, {"ndcg_10": 0.3}, {"ndcg_10": 0.1}, 1.5, 1.7e9)
FAILURE = Failure(3, "ValueError: no", "Traceback ...")


def test_trial_data_comes_back_as_it_was_saved(trial_data: TrialData, tmp_path: Path) -> None:
    trial_data.save(tmp_path)
    loaded = TrialData.load(tmp_path)
    for part in ("train", "validation"):
        saved_part, loaded_part = getattr(trial_data, part), getattr(loaded, part)
        for field in fields(saved_part):
            saved, back = getattr(saved_part, field.name), getattr(loaded_part, field.name)
            np.testing.assert_array_equal(back, saved)
            assert np.asarray(back).dtype == np.asarray(saved).dtype
    np.testing.assert_array_equal(loaded.candidates, trial_data.candidates)
    assert loaded.train.n_items == trial_data.train.n_items
    assert type(loaded.train.n_items) is int
    np.testing.assert_array_equal(loaded.train.user_of, trial_data.train.user_of)


def test_processes_share_one_copy_that_none_can_change(
    trial_data: TrialData, tmp_path: Path
) -> None:
    trial_data.save(tmp_path)
    loaded = TrialData.load(tmp_path)
    for array in (
        loaded.train.items,
        loaded.train.by_time,
        loaded.validation.users,
        loaded.candidates,
    ):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_saving_again_replaces_what_was_there(trial_data: TrialData, tmp_path: Path) -> None:
    trial_data.save(tmp_path)
    other = TrialData(
        History(np.array([0, 1]), np.array([1], np.int32), 3),
        HeldOut(np.array([0], np.int32), np.array([2], np.int32)),
        np.array([[2, 0]], np.int32),
    )
    other.save(tmp_path)
    loaded = TrialData.load(tmp_path)
    assert loaded.candidates.tolist() == [[2, 0]]
    assert loaded.train.n_items == 3


def test_the_rest_of_a_period_is_kept_and_learned_for_test(
    trial_data: TrialData, tmp_path: Path
) -> None:
    assert trial_data.seen is trial_data.train
    whole = split_by_time(planted(160, 80, seed=1), (0.6, 0.8), "first")
    data = replace(
        trial_data, train=whole.train, validation=whole.validation, period=whole.validation_period
    )
    data.save(tmp_path)
    loaded = TrialData.load(tmp_path)
    for found in (loaded.until_test, loaded.seen):
        assert found.items.tolist() == whole.train_and_validation.items.tolist()
        assert found.by_time is not None
        assert whole.train_and_validation.by_time is not None
        assert found.by_time.tolist() == whole.train_and_validation.by_time.tolist()
    assert len(whole.train_and_validation.items) > len(whole.train.items) + len(
        whole.validation.items
    )


@pytest.mark.parametrize(
    "message", [TASK, REPORT, OUTCOME, FAILURE], ids=lambda m: type(m).__name__
)
def test_messages_pass_a_pipe(message: Task | EpochReport | Outcome | Failure) -> None:
    received = pickle.loads(pickle.dumps(message))
    if isinstance(message, Task):  # seeds have no equality of their own
        assert received.seed.state == message.seed.state
        received = replace(received, seed=message.seed)
    assert received == message


@pytest.mark.parametrize("message", [REPORT, OUTCOME, FAILURE], ids=lambda m: type(m).__name__)
def test_results_pass_json(message: EpochReport | Outcome | Failure) -> None:
    assert type(message)(**json.loads(json.dumps(asdict(message)))) == message


def test_a_trial_is_handed_nothing_of_the_test_split(split: Split, trial_data: TrialData) -> None:
    """No test pair is in its arrays, and what starts are made of is train."""
    names = [field.name for field in fields(TrialData)]
    assert names == ["train", "validation", "candidates", "starts", "period"]
    test_item = np.full(split.train.n_users, -2)
    test_item[split.test.users] = split.test.items
    train, validation = trial_data.train, trial_data.validation
    assert not (train.items == test_item[train.user_of]).any()
    assert not (validation.items == test_item[validation.users]).any()
    assert not (trial_data.candidates == test_item[validation.users][:, None]).any()
    assert not [field for field in fields(Task) if "test" in field.name]
