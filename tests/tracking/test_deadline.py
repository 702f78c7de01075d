"""A server that answers one byte at a time is given up, and it is said what is waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ncf.tracking.store import open_client

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n\r\n{"a": "'


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a server that sends the start of an answer, then a byte now and then."""

    def drip(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(ANSWER)
                while not is_over.wait(0.05):
                    connection.sendall(b"a")
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://me:secret@127.0.0.1:{server.getsockname()[1]}"
        is_over.set()
        server.shutdown(socket.SHUT_RDWR)


def test_a_server_that_drips_is_given_up(
    dripping: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # more than between two bytes
    start = time.monotonic()
    with pytest.raises(ValueError, match="no whole answer in 1 s to"):
        open_client(dripping)
    assert time.monotonic() - start < 60.0  # against a test that hangs
    assert "waiting for the tracking server" in caplog.text
    assert "secret" not in caplog.text
