"""Rows for a terminal, a pipe and a program."""

from __future__ import annotations

import json
import sys

import pytest

from ncf.commands.tables import show_recommendations, show_rows
from ncf.serving.answers import Recommendations

ROWS = [{"item": "Café, old", "score": 0.5}, {"item": "b", "score": 0.25}]
ANSWERS = [
    Recommendations("7", [10, 2], [0.9, 0.8], ["A, B", ""], known=True),
    Recommendations("x", [3], [0.1], ["C"], known=False),
]


def test_csv_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(ROWS, as_json=False)
    assert capsys.readouterr().out == 'item,score\n"Café, old",0.5\nb,0.25\n'
    show_recommendations(ANSWERS, as_json=False)
    assert capsys.readouterr().out == (
        "user_id,known,rank,item_id,score,title\n"
        '7,True,1,10,0.9,"A, B"\n7,True,2,2,0.8,\nx,False,1,3,0.1,C\n'
    )


def test_json_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(ROWS, as_json=True)
    assert json.loads(capsys.readouterr().out) == ROWS
    show_recommendations(ANSWERS, as_json=True)
    assert [answer["item_ids"] for answer in json.loads(capsys.readouterr().out)] == [[10, 2], [3]]
    show_rows([], as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_a_table_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_rows(ROWS, as_json=False)
    assert capsys.readouterr().out == "item       score\nCafé, old  0.5\nb          0.25\n"
    show_recommendations(ANSWERS, as_json=False)
    assert capsys.readouterr().out == (
        "user 7\n   1  10  0.900  A, B\n   2   2  0.800\n"
        "user x (unknown user: the most popular items)\n   1  3  0.100  C\n"
    )
    show_rows([], as_json=False)
    assert capsys.readouterr().out == ""
