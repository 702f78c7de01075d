"""What the command `recommend` reads from a person, and what it says of it; the model is tiny."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ncf.__main__ import main
from ncf.commands import asking
from ncf.serving.catalogue import Catalogue
from ncf.serving.item_item import DenseItemItem
from ncf.serving.recommender import Recommender

USERS, ITEMS = np.array(["user1", "user2", "user3"]), np.array(["item_1", "item_2", "shelf, oak"])


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the commands ask a model of three users, each with one item, that reads items."""
    indptr, items = np.arange(4), np.arange(3, dtype=np.int32)
    places, weights = np.ones(1, np.float32), np.ones((3, 3), np.float32)
    scorer = DenseItemItem(indptr, items, places, weights)
    recommender = Recommender(scorer, Catalogue(USERS, ITEMS, None, indptr, items))
    monkeypatch.setattr(asking, "_load", lambda *_: recommender)


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[str], str]:
    """Returns the lines of the answer, each `user,known,item`, and what was said."""
    assert main(["recommend", "-k", "1", *arguments]) == 0
    output, said = capsys.readouterr()
    return output.splitlines()[1:], said


@pytest.mark.parametrize("ids", [["user1", "user3"], ["User-ID", "user1", "user3"]])
def test_the_first_id_of_a_file_is_not_taken_for_a_heading(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ids: list[str]
) -> None:
    file = tmp_path / "users.txt"
    file.write_text("\n".join(ids))
    lines, said = ask(capsys, "--users", str(file))
    assert [line.split(",")[0] for line in lines] == ["user1", "user3"]
    assert said == ""


@pytest.mark.parametrize("items", ['item_1,"shelf, oak"', 'item_1\n"shelf, oak"\r\n'])
def test_items_are_separated_by_commas_and_lines(
    capsys: pytest.CaptureFixture[str], items: str
) -> None:
    assert ask(capsys, "--items", items) == ([",True,1,item_2,1.0,"], "")


def test_a_user_whose_items_are_given_is_not_said_to_get_the_most_popular(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ("--user", "stranger", "--items")
    lines, said = ask(capsys, *asked, "item_1")
    assert lines[0].startswith("stranger,True,")
    assert said == ""
    lines, said = ask(capsys, *asked, "lamp")
    assert lines[0].startswith("stranger,False,")
    assert said == (
        "unknown to the model and passed over: lamp\n--user: 1 of 1 users are unknown to the model "
        "and get the most popular items: stranger; it knows users such as user1 and user2\n"
    )
    assert ask(capsys, "--items", "lamp")[1] == "unknown to the model and passed over: lamp\n"
