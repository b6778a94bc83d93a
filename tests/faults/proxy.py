"""A loopback HTTP proxy between lrtrack and a real server that delays, refuses and disconnects."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple

#: Headers that belong to one connection and are not forwarded.
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


class Request(NamedTuple):
    """A request: when it came, for what, and the status it got (0: the connection was closed)."""

    time: float
    method: str
    path: str
    status: int


@dataclass
class Fault:
    """What happens to the next `times` requests whose URL contains `path`.

    Attributes:
        status: the answer sent in place of the server, which never sees the request.
        headers: headers of that answer; a callable is called at that moment.
        body: the body of that answer.
        holding: applies only to requests that contain these bytes.
        cut: the server handles the request, but the client is disconnected before the answer, or
            in the middle of it.
    """

    path: str
    times: float = 1
    status: int = 0
    headers: Mapping[str, Any] = field(default_factory=dict)
    body: str = ""
    holding: bytes = b""
    cut: Literal["", "before", "amid"] = ""


class Proxy:
    """Forwards requests to a server on a loopback port, apart from its faults.

    Attributes:
        delay: seconds to wait before each answer, after the server has given it.
        requests: all requests, in order.
        whim: decides what happens to a request that no fault applies to.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.requests: list[Request] = []
        self.whim: Callable[[str], Fault | None] | None = None
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._healed = threading.Event()
        self._upstream = port
        self._listener = _Listener(self)
        self.uri = f"http://127.0.0.1:{self._listener.server_address[1]}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,))
        self._thread.start()

    def hurt(self, path: str, times: float = 1, **what: Any) -> Fault:
        """Applies a fault to the next `times` requests for `path`: see `Fault`."""
        fault = Fault(path, times, **what)
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Forwards everything from now on, including delayed answers, and forgets past requests."""
        with self._lock:
            self._healed.set()
            self._healed = threading.Event()
            self._faults.clear()
            self.requests.clear()
            self.whim, self.delay = None, 0.0

    def asked(self, path: str) -> list[Request]:
        """Returns the requests whose URL contains `path`."""
        with self._lock:
            return [request for request in self.requests if path in request.path]

    def stop(self) -> None:
        """Stops listening and closes all connections."""
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def linger(self) -> None:
        """Waits as long as an answer is to be delayed."""
        self._healed.wait(self.delay)

    def fault_for(self, path: str, body: bytes) -> Fault | None:
        """Returns the fault that applies to this request, and counts it."""
        with self._lock:
            for fault in self._faults:
                if fault.path in path and fault.holding in body and fault.times > 0:
                    fault.times -= 1
                    return fault
            return self.whim(path) if self.whim is not None else None

    def note(self, started: float, method: str, path: str, status: int) -> None:
        """Records a request."""
        with self._lock:
            self.requests.append(Request(started, method, path, status))

    def forward(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Returns the server's answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=60)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints nothing: clients are killed and disconnect."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""

    def _serve(self) -> None:
        proxy, started = self.server.proxy, time.monotonic()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = proxy.fault_for(self.path, body)
        if fault is not None and fault.status:
            proxy.note(started, self.command, self.path, fault.status)
            answer_headers = {k: str(v() if callable(v) else v) for k, v in fault.headers.items()}
            self._answer(fault.status, answer_headers, fault.body.encode())
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        try:
            status, answered, content = proxy.forward(self.command, self.path, headers, body)
        except OSError:  # the server is down
            status, answered, content = 0, {}, b""
        proxy.linger()
        cut = status == 0 or (fault is not None and bool(fault.cut))
        proxy.note(started, self.command, self.path, 0 if cut else status)
        if cut:
            amid = fault is not None and fault.cut == "amid"
            self._hang_up(lambda: self._answer(status, answered, content, half=True), amid)
        else:
            self._answer(status, answered, content)

    def _answer(
        self, status: int, headers: Mapping[str, str], content: bytes, half: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if half else content)

    def _hang_up(self, begin: Callable[[], None], amid: bool) -> None:
        if amid:
            begin()
            self.wfile.flush()
        self.close_connection = True
        # A reset instead of an end, as from a router that has forgotten the connection.
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve
