"""A loopback proxy that demands credentials and records which ones it receives."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Gatekeeper:
    """Forwards requests that carry the right `Authorization` header to a server on a loopback port.

    Attributes:
        uri: where it listens.
        shown: the `Authorization` header of each request, in order; None for one without.
    """

    def __init__(self, port: int, accepts: str | None) -> None:
        self.shown: list[str | None] = []
        self._accepts = accepts
        self._upstream = port
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._listener.server_address[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def listening(self) -> Iterator[Gatekeeper]:
        """Answers requests while the block lasts."""
        thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown()
            thread.join()
            self._listener.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gatekeeper = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                header = self.headers["Authorization"]
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                gatekeeper.shown.append(header)
                if gatekeeper._accepts is not None and header != gatekeeper._accepts:
                    self._reply(401, "text/plain", b"")
                    return
                server = http.client.HTTPConnection("127.0.0.1", gatekeeper._upstream, timeout=60)
                kind = self.headers["Content-Type"] or "application/octet-stream"
                server.request(self.command, self.path, body, {"Content-Type": kind})
                reply = server.getresponse()
                content = reply.read()
                server.close()
                self._reply(reply.status, reply.headers["Content-Type"] or "text/plain", content)

            do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = do_DELETE = answer

            def _reply(self, status: int, kind: str, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Handler
