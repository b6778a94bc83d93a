"""HTTP on 127.0.0.1: a listener that can be closed with all its connections at once."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """One HTTP reply."""

    status: int
    headers: dict[str, str]
    body: bytes


class Listener(ThreadingMixIn, TCPServer):
    """Serves each connection in a thread of its own; `close` ends them all."""

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int, answer: Callable[[Asked], Reply]) -> None:
        self.answer = answer
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.02,), name="wandb-loopback"
        )
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, then serve it."""
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients may hang up, and `close` hangs up on them."""

    def close(self) -> None:
        """Stop to listen, hang up on every client, and wait for the threads."""
        self.shutdown()
        self.socket.close()
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, lets the listener answer it, writes the reply."""

    protocol_version = "HTTP/1.1"
    server: Listener

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def setup(self) -> None:
        """Send small packets at once."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._body(headers)
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        reply = self.server.answer(Asked(self.command, self.path, headers, body))
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _body(self, headers: dict[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return self.rfile.read(int(headers.get("content-length", 0)))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    do_GET = do_HEAD = do_POST = do_PUT = _serve
