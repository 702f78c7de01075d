"""Tests of `ncf.redaction`: no password in what is printed or logged."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT

from ncf.redaction import RedactingFormatter, redacted

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
    assert MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.get()  # type: ignore[no-untyped-call]
