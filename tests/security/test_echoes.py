"""A server or proxy that repeats what it was sent: no credentials in what lrtrack says."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lrtrack.errors import TrackerError
from lrtrack.records import Run, Target
from lrtrack.trackers.mlflow import MlflowTracker

PASSWORD, KEY = "hunter2-pass", "0123456789abcdef"


@pytest.fixture
def echo() -> Iterator[Any]:
    """A server that repeats the `Authorization` header; set its `status` and `body`."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.headers.get("authorization", "")
            answer = server.body.replace("SENT", sent).encode()  # type: ignore[attr-defined]
            self.send_response(server.status)  # type: ignore[attr-defined]
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_HEAD = do_GET

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, "bad request: SENT"),
        (401, "unknown login SENT at this proxy"),
        (400, '{"error_code": "INVALID_PARAMETER_VALUE", "message": "header SENT is invalid"}'),
        (500, "x" * 180 + " Authorization=SENT"),  # where a long answer is cut
    ],
)
@pytest.mark.parametrize("by", ["address", "variables", "token", "file"])
def test_a_server_that_repeats_credentials(
    by: str, status: int, body: str, echo: Any, clean_place: Path, monkeypatch
) -> None:
    """No error for any answer holds the password, the token or their base64."""
    uri = f"http://127.0.0.1:{echo.server_port}"
    echo.status, echo.body = status, body
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    if by == "address":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("//", f"//alice:{PASSWORD}@"))
    elif by == "variables":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    elif by == "token":
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", KEY)
    else:
        monkeypatch.setenv("HOME", str(clean_place))
        (clean_place / ".mlflow").mkdir()
        login = f"mlflow_tracking_username = alice\nmlflow_tracking_password = {PASSWORD}\n"
        (clean_place / ".mlflow" / "credentials").write_text(f"[mlflow]\n{login}")
    sink = MlflowTracker().sink(Run("1" * 32, "r"), Target("mlflow", uri, experiment="e"), None)
    assert sink is not None
    with pytest.raises(TrackerError) as error:
        sink.open()

    said = str(error.value)
    encoded = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    assert [secret for secret in (PASSWORD, KEY, encoded[:12]) if secret in said] == []
    assert uri in said
