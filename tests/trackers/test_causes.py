"""Error messages of HTTP clients in plain words, and long messages cut at a sentence."""

from __future__ import annotations

import pytest

from lrtrack.trackers.causes import connection_trouble, refused_connection, shortened

POOL = "HTTPConnectionPool(host='h', port=9): "
RETRIES = f"{POOL}Max retries exceeded with url: /api (Caused by "
REFUSED = (
    "NewConnectionError(\"HTTPConnection(host='h', port=9): Failed to establish a new connection: "
    '[Errno 111] Connection refused")'
)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (f"{RETRIES}{REFUSED})", "cannot be reached (Connection refused)"),
        (
            f"{RETRIES}NameResolutionError(\"HTTPConnection(host='h', port=9): Failed to resolve "
            "'h' ([Errno -2] Name or service not known)\"))",
            "cannot be reached (no such host: h)",
        ),
        (f"{POOL}Read timed out. (read timeout=20)", "has not answered for 20 s"),
        (
            f"{RETRIES}ConnectTimeoutError(<HTTPConnection(host='h', port=9) at 0x7f>, "
            "'Connection to h timed out. (connect timeout=5)'))",
            "cannot be reached (no connection within 5 s)",
        ),
        (
            "('Connection aborted.', RemoteDisconnected('Remote end closed connection without "
            "response'))",
            "closed the connection before it had answered",
        ),
        (
            "('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))",
            "closed the connection before it had answered",
        ),
        (
            "('Connection broken: IncompleteRead(3 bytes read, 9 more expected)', "
            "IncompleteRead(3 bytes read, 9 more expected))",
            "closed the connection in the middle of its answer",
        ),
        (
            f"{RETRIES}SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] "
            "certificate verify failed: self-signed certificate (_ssl.c:1006)')))",
            "has a certificate that cannot be verified (self-signed certificate)",
        ),
        (
            f"{RETRIES}SSLError(SSLError(1, '[SSL: WRONG_VERSION_NUMBER] wrong version')))",
            "does not speak TLS. Fix: write http:// instead of https://",
        ),
        ("Exceeded 30 redirects.", "redirects without end"),
        (f"{RETRIES}ResponseError('too many 503 error responses'))", "answers 503"),
        (f"{POOL}something new", "cannot be reached"),
        (
            'Post "http://h:9/graphql": dial tcp 127.0.0.1:9: connect: connection refused',
            "cannot be reached (connection refused)",
        ),
        ("RESOURCE_DOES_NOT_EXIST: No such run", None),
        ("", None),
    ],
)
def test_what_went_wrong(text: str, meaning: str | None):
    """Each message of urllib3, requests and Go becomes its cause, without names of classes."""
    assert connection_trouble(text) == meaning


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{RETRIES}ProxyError('Unable to connect to proxy', {REFUSED}))", "Connection refused"),
        (
            f"{RETRIES}ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: "
            "407 Proxy Authentication Required')))",
            "407 Proxy Authentication Required",
        ),
        (
            'Post "https://h/graphql": proxyconnect tcp: dial tcp 127.0.0.1:9: connect: '
            "connection refused",
            "connection refused",
        ),
    ],
)
def test_a_proxy(text: str, reason: str, monkeypatch):
    """A dead proxy is named by the variables that set it, not taken for a dead server."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://user:S3CR3T@127.0.0.1:9")

    assert connection_trouble(text) == (
        f"cannot be reached through the proxy ({reason}). Fix: correct or unset HTTPS_PROXY, or "
        "name the server in NO_PROXY"
    )


def test_a_connection_that_a_proxy_should_have_made(monkeypatch):
    """A refused connection is the proxy's where one applies, and the server's elsewhere."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "inside")

    assert "through the proxy (refused)" in refused_connection("http://outside:5000", "refused")
    assert refused_connection("http://inside:5000", "refused") == "cannot be reached (refused)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("One sentence here. Another that is too long", "One sentence here."),
        ("no sentence ends within these words", "no sentence ends within these…"),
        ("x" * 40, "x" * 30 + "…"),
    ],
)
def test_long_messages(text: str, expected: str):
    """A long message ends with a sentence, else with a word and an ellipsis."""
    assert shortened(text, 30) == expected
