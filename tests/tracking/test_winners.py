"""How winners of one study are told apart, also those that earlier versions have published."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import MODELS
from ncf.study.experiment import DataFacts
from ncf.study.results import Conclusion, Contestant
from ncf.tracking.logged_models import is_whole, log_model
from ncf.tracking.publication import Published
from ncf.tracking.tracker import Tracker
from ncf.tracking.winners import is_of_another, key_of_winner, parts_of

GMF = Contestant("GMF", 5, Hyperparameters(), {}, 7, {}, "trial 5")


def other(name: str) -> Contestant:
    return Contestant(name, 3, MODELS[name].defaults, {}, 0, {}, "20 settings", is_trial=False)


def key(*contestants: Contestant) -> str:
    return key_of_winner(Conclusion("d", contestants, (), 0.0, Path()))


def test_two_mixtures_are_told_apart_by_the_trial_that_they_are_of() -> None:
    mixture = other("mixture")
    of_5, of_6 = key(mixture, GMF), key(mixture, replace(GMF, number=6))
    longer = key(mixture, replace(GMF, epochs=8))  # as `--confirm 0` may have it
    assert len({of_5, of_6, longer}) == 3
    assert key(mixture, GMF, other("ease")) == of_5  # one more rival does not change the winner
    assert {parts_of(one) for one in (of_5, of_6, longer)} == {("mixture", "3")}


def test_keys_of_before_are_read_and_those_that_sufficed_are_as_they_were() -> None:
    assert key(GMF, other("ease")) == "winner-5-7"
    assert key(other("ease"), GMF) == "winner-ease-3-0"
    assert parts_of("winner-5-7") == ("", "5")
    assert parts_of("winner-ease-3-0") == ("ease", "3")
    assert parts_of("winner-mixture-3-0") == ("mixture", "3")
    for wrong in ("trial-0005", "winner", "winner-1-2-3-4"):
        with pytest.raises(ValueError, match="not the key of a winner"):
            parts_of(wrong)


def test_a_mixture_that_was_made_before_test_was_read_of_it_may_be_another(tmp_path: Path) -> None:
    facts = DataFacts("toy", "0123456789abcdef", {"users": 3})
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "toy", facts)
    tracker.start_study("toy", "id", {"seed": 0})
    (tmp_path / "packaged").mkdir()
    (tmp_path / "packaged" / "MLmodel").write_text("flavors: {}")

    def is_another(key: str, later: float) -> bool:
        folder = tmp_path / "packaged"
        model_id = log_model(tracker, tracker.parent, key, "winner", folder, {}, 0)
        made = tracker.client.get_logged_model(model_id).creation_timestamp / 1000
        return is_of_another(tracker.client, model_id, made + later)

    assert is_another("winner-mixture-3-0", later=60)
    assert not is_another("winner-mixture-3-0", later=-1)  # so that nothing is made again
    assert not is_another("winner-mixture-3-0@5-7", later=60)
    assert not is_another("winner-ease-3-0", later=60)


def test_a_server_that_was_lost_ends_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = MlflowClient(f"http://127.0.0.1:{port}")
    assert is_whole(client, "m-1")  # as far as is known
    assert not is_of_another(client, "m-1", at=0.0)


def test_what_is_printed_of_a_version_that_was_there() -> None:
    made = Published("models:/m", "gmf-a", "1", "version 1 is the new champion", "1")
    assert made.in_words == "Registered: gmf-a version 1; version 1 is the new champion"
    found = replace(made, is_new=False)
    assert found.in_words == "Registered before: gmf-a version 1; version 1 is the new champion"
    assert replace(found, was_champion=True).in_words == (
        "Registered before: gmf-a version 1; version 1 is the champion"
    )
    assert Published("models:/m").in_words == ""
