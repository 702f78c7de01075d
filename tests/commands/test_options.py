"""The options of `search.py`: what a command line becomes, and what is refused at once."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from ncf.commands.command_line import parse
from ncf.commands.options import BASELINES, Options, check_name
from ncf.models import table


def test_nothing_given_is_the_defaults() -> None:
    assert parse([]) == Options()
    assert Options().experiment.is_file()


def test_every_option_reaches_its_field(capsys: pytest.CaptureFixture[str]) -> None:
    line = (
        "--trials 7 --experiment e.py --data d.csv --columns user=u --min-rating 4 --split time "
        "--targets all --study s --jobs 3 --cluster h:1 --lag 6 --epochs 5 --timeout 9.5 --seed 2 "
        "--k 20 --objective mrr "
        "--device cpu --no-prune --confirm 1 --confirm-seeds 2 --baselines ials,popularity "
        "--register-best gmf --register r "
        "--repeat id --quiet --verbose --log-file l --tracking-uri u --storage o "
        "--keep-models 4 --titles t --drop-empty"
    )
    given = parse(line.split())
    assert given == Options(
        7, Path("e.py"), "d.csv", "user=u", 4.0, "time", "all", "s", 3, "h:1", 6, 5, 9.5, 2, 20,
        "mrr", "cpu", False, 1, 2, ("ials", "popularity"), "gmf", "r", "id", True, True, "l", "u",
        "o", 4, "t", True,
    )  # fmt: skip
    same = {f.name for f in fields(Options) if getattr(given, f.name) == getattr(Options(), f.name)}
    assert same == set()  # each of them was set
    assert parse(["--baselines", "none"]).baselines == ()
    assert parse(["--no-register"]).register == ""
    with pytest.raises(SystemExit):
        parse(["--register", ""])
    assert "--register needs a name; --no-register leaves" in capsys.readouterr().err


def test_a_log_file_needs_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--log-file", f"{tmp_path}/none/log"])
    assert f"--log-file {tmp_path}/none/log: no folder {tmp_path}/none" in capsys.readouterr().err


def test_the_baselines_are_those_of_the_table_of_models() -> None:
    assert BASELINES == table.BASELINES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 0}, "--trials must be positive, but got 0"),
        ({"jobs": -1}, "--jobs must be positive"),
        ({"lag": 0}, "--lag must be positive"),
        ({"k": 0}, "--k must be positive"),
        ({"timeout": float("nan")}, "--timeout must be positive"),
        ({"confirm": -1}, "--confirm must not be negative"),
        ({"confirm_seeds": 0}, "--confirm-seeds at least 1"),
        ({"keep_models": -1}, "--keep-models must not be negative, but got -1"),
        ({"seed": -1}, "--seed must not be negative"),
        (
            {"baselines": ("svd",)},
            "--baselines svd: known are popularity, itemknn, ials, ease, markov, mixture, slist, "
            "or none",
        ),
        ({"study": "a/b"}, "--study 'a/b': a name is letters"),
        ({"register": "it's"}, '--register "it\'s": a name is letters'),
    ],
)
def test_a_value_that_breaks_a_rule_is_told_with_the_rule(
    change: dict[str, Any], message: str
) -> None:
    Options().check()
    with pytest.raises(ValueError, match=message):
        replace(Options(), **change).check()


def test_names_that_are_folders_and_stand_in_queries() -> None:
    assert check_name("--study", "my data 2.1_x-y") == "my data 2.1_x-y"
    for name in ("", "..", ".hidden", "a'b", "a" * 201):
        with pytest.raises(ValueError, match="a name is letters"):
            check_name("--study", name)
