"""Every error of a command is one line without passwords, whatever a store answers."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from mlflow.exceptions import MlflowException

import ncf
from ncf.__main__ import main
from ncf.commands import command_line, failures
from tests.conftest import PROJECT

SECRET = "s3cr t/p@ss"
ADDRESSES = (
    "http://me:{password}@{host}",
    "http://me:hidden%20word@{host}",
    "http://{host}/?password=hidden%20word",
    "http://{host}/base?token=hidden&k=1",
)
COMMANDS = (
    ("models",),
    ("recommend", "--user", "7"),
    ("recommend", "--user", "7", "--model", "models:/gmf/1"),
    ("similar", "--item", "7"),
    ("promote", "gmf/1"),
    ("promote", "1", "--force"),
    ("compare", "gmf/1", "gmf/2"),
    ("register", "0123456789abcdef0123456789abcdef"),
)


class FailingServer:
    """Answers as many requests as it is told as an empty MLflow server, and then otherwise."""

    def __init__(self, n_good: int, answer: str) -> None:
        server = self
        self.n_good = n_good
        self.answer = answer

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.n_good -= 1
                if server.n_good >= 0:
                    self._say(200, "{}")
                elif server.answer == "nothing":
                    self.close_connection = True
                elif server.answer == "500":
                    host = self.headers["Host"]
                    self._say(500, f"<p>no http://me:{SECRET}@{host}/x?password=hidden word</p>")
                else:
                    self._say(200, server.answer)

            def _say(self, status: int, body: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.host = f"127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("answer", ["nothing", "500", "nonsense", "[]", '{"model_versions": 3}'])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_server_that_fails_after_its_first_answer_is_one_line_without_secrets(
    command: tuple[str, ...], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = FailingServer(1, answer)
    try:
        for address in ADDRESSES:
            server.n_good = 1
            uri = address.format(host=server.host, password=SECRET)
            status = main([*command, "--tracking-uri", uri])
            output, errors = capsys.readouterr()
            shown = output + errors
            assert "Traceback" not in shown, shown
            assert not {word for word in ("s3cr", "p@ss", "hidden") if word in shown}, shown
            if status:  # some answers are as good as an empty store
                assert status == 2
                assert errors.startswith("error: ")
                assert errors.count("\n") == 1
    finally:
        server.close()


@pytest.mark.parametrize("n_good", [0, 1])
def test_python_too_is_told_without_secrets(n_good: int) -> None:
    server = FailingServer(n_good, "500")
    uri = ADDRESSES[0].format(host=server.host, password=SECRET)
    try:
        ncf.load_model("models:/gmf/1", uri)
    except ValueError as error:
        (*_, last) = shown = traceback.format_exception(error)
        assert last.startswith("ValueError: ")
        assert not {word for word in ("s3cr", "p@ss", "hidden") if word in "".join(shown)}, shown
    else:
        raise AssertionError("it has loaded nothing")
    finally:
        server.close()


def test_what_cannot_be_read_is_not_repeated_with_its_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for parse in (main, command_line.parse):
        with pytest.raises(SystemExit):
            parse(["models", f"http://me:{SECRET}@host", "--token=hidden words"])
        shown = "".join(capsys.readouterr())
        assert "unrecognized arguments" in shown
        assert not {word for word in ("s3cr", "p@ss", "hidden") if word in shown}, shown


def test_an_error_of_mlflow_is_told_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        try:
            raise MlflowException(f"no http://me:{SECRET}@host:5/x")
        except MlflowException as error:
            raise MlflowException("not\nthere") from error

    assert failures.guarded(fail) == 2
    line = "error: MLflow failed: not there; see that its store answers and is whole, or name"
    assert capsys.readouterr().err.startswith(line)


def test_an_error_of_the_system_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "mlruns/studies/shop/lock")

    assert failures.guarded(fail) == 2
    assert capsys.readouterr().err == (
        "error: mlruns/studies/shop/lock: Read-only file system; see that you may write there, or "
        "work in another folder\n"
    )


def test_a_defect_is_logged_with_its_traceback_and_no_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own

    def fail() -> int:
        try:
            json.loads("")
        except ValueError as error:
            raise TypeError("http://me:hidden word@host:5/x?token=hidden") from error
        return 0

    assert failures.guarded(fail) == 1
    shown = capsys.readouterr().err
    assert "a defect of this program" in shown
    assert "JSONDecodeError" in shown  # the error before it, too
    assert "TypeError: http://***@host:5/x?token=***" in shown


def test_a_log_file_holds_no_password(tmp_path: Path) -> None:
    """Nor do lines that a library logs, of which nothing is known."""
    file = tmp_path / "log"
    program = (
        "import logging, sys\n"
        "from ncf.commands import command_line, progress\n"
        "found = command_line.parse(sys.argv[1:])\n"
        "progress.set_up(False, True, found.log_file)\n"
        "logging.getLogger('urllib3').warning('broken: %s', found.tracking_uri)\n"
        "logging.getLogger('urllib3').warning('a piece: %s', found.tracking_uri.split(':', 2)[2])\n"
    )
    uri = f"http://me:{SECRET}@host:5000/?password=hidden"
    result = subprocess.run(
        [sys.executable, "-c", program, "--tracking-uri", uri, "--log-file", str(file)],
        capture_output=True, text=True, check=True, cwd=PROJECT,
    )  # fmt: skip
    for shown in (file.read_text(), result.stderr):
        assert "broken: http://***@host:5000/?password=***" in shown
        assert "a piece: " in shown
        assert not {word for word in ("s3cr", "p@ss", "hidden") if word in shown}, shown
