"""What is said of a search while it runs, of planted trials."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from ncf.commands import progress
from ncf.models.gmf.setting import Hyperparameters
from ncf.study.coordinator import TrialEnded, TrialStarted
from ncf.trials.messages import Failure, Outcome

SETTING = Hyperparameters()


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Leaves logging as it was."""
    root, ncf = logging.getLogger(), logging.getLogger("ncf")
    before = root.handlers[:], root.level, ncf.level
    yield
    root.handlers[:], root.level, ncf.level = before
    progress._is_quiet = False


def trial(number: int, value: float | None, seconds: float = 10.0) -> FrozenTrial:
    attributes: dict[str, object] = {"hyperparameters": asdict(SETTING)}
    state = TrialState.FAIL
    if value is None:
        attributes["failure"] = asdict(Failure(number, "ValueError: too large"))
    else:
        metrics = {"ndcg_10": value}
        attributes["outcome"] = asdict(
            Outcome(number, value < 0.2, 9, 5, metrics, metrics, seconds, time=0.0)
        )
        state = TrialState.PRUNED if value < 0.2 else TrialState.COMPLETE
    frozen = create_trial(
        state=state, value=value if state == TrialState.COMPLETE else None, user_attrs=attributes
    )
    frozen.number = number
    return frozen


TRIALS = [trial(0, 0.3), trial(1, 0.4, seconds=30.0), trial(2, 0.1, seconds=5.0), trial(3, None)]


def follow(n_trials: int = 11) -> None:
    started = [TrialStarted(number, SETTING, 0.0) for number in (2, 3)]
    ended = [TrialEnded(one) for one in TRIALS[2:]]
    progress.follow([*started, *ended], TRIALS[:2], n_trials, epochs=9)


def test_a_line_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.set_up(quiet=False, verbose=False, log_file=None)
    follow()
    assert capsys.readouterr().err == ""  # not yet
    monkeypatch.setattr(progress, "SILENCE", 0.0)
    follow()
    first, last = capsys.readouterr().err.splitlines()
    # 8 trials of 15 s are left, of which 2 run at once
    assert first == (
        "3/11 trials: 2 finished, 1 pruned, 0 failed; best 0.4000 (trial 1); about 01:00 left"
    )
    assert last.startswith("3/11 trials: 2 finished, 1 pruned, 1 failed")
    follow(n_trials=3)
    assert "left" not in capsys.readouterr().err
    progress.set_up(quiet=True, verbose=False, log_file=None)
    follow()
    assert capsys.readouterr().err == ""


def test_a_line_for_each_trial_and_a_log_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "search.log"
    progress.set_up(quiet=True, verbose=False, log_file=str(file))
    follow()
    logging.getLogger("ncf.study").warning("worker died")
    assert capsys.readouterr().err == ""
    pruned, failed, warning = file.read_text(encoding="utf-8").splitlines()
    assert "INFO: trial 2 pruned: nDCG@10 0.1000 at epoch 5 of 9, 5.0 s (dim 64" in pruned
    assert "INFO: trial 3 failed: ValueError: too large (dim 64" in failed
    assert "WARNING: worker died" in warning
    progress.set_up(quiet=False, verbose=True, log_file=None)
    follow()
    assert capsys.readouterr().err.count("INFO: trial") == 2
    progress.set_up(quiet=False, verbose=False, log_file=None)
    follow()
    logging.getLogger("ncf.study").warning("worker died")
    assert capsys.readouterr().err == "WARNING: worker died\n"


def test_a_log_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        progress.set_up(quiet=False, verbose=False, log_file=str(tmp_path / "absent" / "x.log"))


def test_the_work_of_blocks_is_counted() -> None:
    assert progress.count([3, 4], total=7, unit="user") == 7
