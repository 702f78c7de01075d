"""Writes that fail: repeated with back-off, holding up no others, and named if they stay."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from ncf.tracking import mirror
from ncf.tracking.mirror import Mirror


class Store:
    """A store that notes what it is told, and may be out of order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_down = False
        self.refused: set[str] = set()
        self.n_attempts = 0

    def tell(self, what: str) -> None:
        self.n_attempts += 1
        if self.is_down or what in self.refused:
            raise ConnectionError(f"http://me:secret@host: cannot be\n told of {what}")
        self.told.append(what)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(mirror, "FIRST_PAUSE", 0.01)
    return Store()


def test_entries_are_written_in_order_by_another_thread(store: Store) -> None:
    queue = Mirror()
    threads: set[int] = set()
    queue.put("a", lambda: threads.add(threading.get_ident()))
    for name in "bcd":
        queue.put(name, partial(store.tell, name))
    assert queue.finish(patience=10.0) == ""
    assert store.told == ["b", "c", "d"]
    assert threads != {threading.get_ident()}


def test_what_fails_is_written_when_the_store_is_back(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Mirror()
    store.is_down = True
    for name in "ab":
        queue.put(name, partial(store.tell, name))
    while store.n_attempts < 4:
        time.sleep(0.01)
    assert store.told == []
    store.is_down = False
    assert queue.finish(patience=10.0) == ""
    assert sorted(store.told) == ["a", "b"]  # once each
    assert caplog.text.count("take a: http://***@host: cannot be told of a") == 1
    assert caplog.text.count("MLflow has now taken all that it did not take before") == 1


def test_one_that_always_fails_holds_up_no_others_and_is_named(store: Store) -> None:
    queue = Mirror()
    store.refused = {"bad"}
    for name in ("bad", "good", "better"):
        queue.put(name, partial(store.tell, name))
    assert queue.finish(patience=0.2) == "bad: http://***@host: cannot be told of bad"
    assert store.told == ["good", "better"]


def test_the_newer_of_a_name_takes_the_olders_place(store: Store) -> None:
    queue = Mirror()
    store.is_down = True
    queue.put("trial 1", lambda: store.tell("its first epochs"))
    while not store.n_attempts:
        time.sleep(0.01)
    queue.put("trial 1", lambda: store.tell("all its epochs"))
    store.is_down = False
    assert queue.finish(patience=10.0) == ""
    assert store.told[-1:] == ["all its epochs"]
    assert len(store.told) <= 2  # the older may just have been at it


def test_pauses_grow_and_the_end_does_not_wait_for_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "LONGEST_PAUSE", 60.0)
    monkeypatch.setattr(mirror, "FIRST_PAUSE", 0.05)
    queue = Mirror()
    store.is_down = True
    queue.put("a", lambda: store.tell("a"))
    time.sleep(1.0)
    assert 2 <= store.n_attempts <= 5  # after 0.1, 0.25, 0.5, ... seconds
    store.is_down = False
    assert queue.finish(patience=10.0) == ""


def test_a_store_that_says_nothing_is_not_waited_for_without_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "SLOWNESS", 2)
    queue = Mirror()
    silence = threading.Event()
    queue.put("a", silence.wait)
    queue.put("b", lambda: store.tell("b"))
    assert queue.finish(patience=0.1) == "a, b: no time"
    silence.set()
    time.sleep(0.1)
    assert store.told == []  # it has given up


def test_nothing_is_written_while_the_store_is_not_the_one_it_was(store: Store) -> None:
    is_lost = True

    def check() -> None:
        if is_lost:
            raise FileNotFoundError("mlflow.db was removed")

    queue = Mirror(check)
    queue.put("a", partial(store.tell, "a"))
    assert "mlflow.db was removed" in queue.finish(patience=0.05)
    assert store.n_attempts == 0
