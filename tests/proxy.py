"""A proxy before an HTTP server that fails on purpose."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType

PASS, REFUSE, ERROR, LOSE = "passed", "refused", "answered with 500", "done but the answer lost"


class Proxy:
    """Serves on a port of its own choice until it is closed.

    Attributes:
        fault: Says for each request, by its path, what becomes of it: `PASS`, `REFUSE`, ...
        counts: How often each of them was said.
    """

    def __init__(self, upstream_port: int, fault: Callable[[str], str] = lambda _: PASS) -> None:
        """Starts the proxy of a server on this machine."""
        proxy = self
        self.fault = fault
        self.counts: Counter[str] = Counter()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else an answer waits 40 ms for its body

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = proxy.fault(self.path)
                proxy.counts[fault] += 1
                if fault == ERROR:
                    self.send_error(500)
                if fault in (PASS, LOSE):
                    upstream = http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=60)
                    upstream.request(self.command, self.path, body, dict(self.headers))
                    answer = upstream.getresponse()
                    content = answer.read()
                    upstream.close()
                    if fault == PASS:
                        self.send_response(answer.status)
                        for name in ("Content-Type", "Content-Disposition"):
                            if (value := answer.headers.get(name)) is not None:
                                self.send_header(name, value)
                        self.send_header("Content-Length", str(len(content)))
                        self.end_headers()
                        self.wfile.write(content)
                self.close_connection = fault != PASS

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        """The proxy's address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
