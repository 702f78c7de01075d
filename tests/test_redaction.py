"""Tests of `ncf.redaction`: no password in what is printed or logged."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT

from ncf.redaction import RedactingFormatter, learn, redacted

SIGNS = st.characters(codec="utf-8", exclude_categories=["Z", "C"])


@given(st.text(SIGNS, min_size=1), st.text(SIGNS), st.sampled_from(["http", "postgresql+psycopg"]))
def test_no_sign_of_a_password_is_left(user: str, password: str, scheme: str) -> None:
    user = user.translate({ord(sign): None for sign in "/:@"})
    shown = redacted(f"no answer from {scheme}://{user}:{password}@host:5000/path, tried twice")
    assert shown == f"no answer from {scheme}://***@host:5000/path, tried twice"


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000/#/experiments/1",
        "http://host/path@x",
        "sqlite:////home/me@work/mlflow.db",
        "models:/gmf@champion",
        "see a@b.c",
    ],
)
def test_what_is_no_password_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:p w@host:5000/x", "http://***@host:5000/x"),
        ("x http://me:p w@host, y http://me:p/w@host", "x http://***@host, y http://***@host"),
        ("http://host:5000 and me@work", "http://host:5000 and me@work"),
        ("http://host/x?k=1&password=p/w&l=2", "http://host/x?k=1&password=***&l=2"),
        ("postgresql://host/db?sslpassword=pw", "postgresql://host/db?sslpassword=***"),
        ("--data x?api_key='p w' y", "--data x?api_key=*** y"),
        ("TOKEN=abc, page_token=def", "TOKEN=*** page_token=***"),
        ("Authorization: Basic bWU6cHc9PQ==", "Authorization: Basic ***"),
        ("The Basic rules", "The Basic rules"),
    ],
)
def test_a_password_is_known_by_where_it_stands(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_the_password_of_a_commands_own_address_is_known_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ncf.redaction.learned", set())
    learn(["--tracking-uri", "http://me:al pha@be/ta%20x@host:5000/y", "http://host:5000/@z"])
    learn(["http://host/?token=gam ma&k=1"])
    for text, shown in (
        ("http://me:al pha@be/ta%20x@host:5000/y", "http://***@host:5000/y"),
        ("cannot parse me:al pha@be/ta%20x@host", "cannot parse ***@host"),
        ("no port 'al pha@be/ta x'", "no port '***'"),
        ("of http://host/?token=gam ma&k=1 and gammas", "of http://host/?token=***&k=1 and gammas"),
        ("no host 'ta%20x', nor '5000'", "no host '***', nor '5000'"),
    ):
        assert redacted(text) == shown


def test_log_records_are_redacted_with_their_tracebacks() -> None:
    try:
        raise ValueError("http://me:secret@host/x")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", 30, __file__, 1, "no %s", ("ftp://me:secret@host",), info)
    line = RedactingFormatter("%(levelname)s: %(message)s").format(record)
    assert line.startswith("WARNING: no ftp://***@host\nTraceback")
    assert "secret" not in line.replace('"http://me:secret@host/x"', "")  # the source of this test


def test_mlflow_does_not_print_the_address_of_each_run() -> None:
    """It would, with the password, where the tracking URI is a server's."""
    import ncf.tracking  # noqa: F401 # which sees to it

    assert MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.get()  # type: ignore[no-untyped-call]


def test_the_uri_of_a_model_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncf.redaction.learned", set())
    learn(["models:/gmf-shop@champion", "--model=models:/a@b", "runs:/1/model@x"])
    assert redacted("models:/gmf-shop@nobody") == "models:/gmf-shop@nobody"


@pytest.mark.parametrize(
    "address",
    ["http:/me:secret99@host:9", "me:secret99@host:9", "//me:secret99@host/x"],
)
def test_an_address_with_a_slash_too_few_shows_no_password(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ncf.redaction.learned", set())
    learn([f"--tracking-uri={address}"])
    assert "secret99" not in redacted(f"cannot open {address}")
