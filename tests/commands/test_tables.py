"""Rows for a terminal, a pipe and a program."""

from __future__ import annotations

import json
import sys

import pytest

from ncf.commands.tables import aligned, for_terminal, in_width, show_recommendations, show_rows
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


def test_a_table_that_is_too_wide_goes_on_below_and_breaks_no_number() -> None:
    numbers = ["0.1234", "0.5678", "0.9012", "a long setting, of several words"]
    rows = [["trial", "HR", "nDCG", "full nDCG", "setting"], ["7", *numbers]]
    lines = in_width(rows, 30)
    assert max(map(len, lines)) <= 30
    assert [line for line in lines if line.startswith("trial")] == [
        "trial  HR      nDCG",
        "trial  full nDCG",
        "trial  setting",
    ]
    text = "\n".join(lines)
    assert all(number in text for number in numbers[:3])
    assert "a long setting, of" in text
    assert in_width(rows, 200) == aligned(rows, [True] * 5)


def test_a_table_that_goes_on_below_leaves_no_column_alone_where_it_need_not() -> None:
    rows = [["", "one", "two", "three", "four"], ["a", "0.1", "12.25", "3", "0.4"]]
    is_text = (True, False, False, False, False)
    assert in_width(rows, 20, is_text) == [
        "   one    two",
        "a  0.1  12.25",
        "",
        "   three  four",
        "a      3   0.4",
    ]


def test_a_narrow_terminal_keeps_a_value_and_its_interval_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [["", "HR", "", "nDCG", ""], ["GMF", "0.5", "[0.4, 0.6]", "0.3", "[0.2, 0.4]"]]
    is_text = (True, False, False, False, False)
    assert for_terminal(rows, is_text, "") == aligned(rows, is_text)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "25")
    lines = for_terminal(rows, is_text, "  ")
    assert max(map(len, lines)) <= 25
    assert "  GMF  0.5 [0.4, 0.6]" in lines
    assert "  GMF  0.3 [0.2, 0.4]" in lines
