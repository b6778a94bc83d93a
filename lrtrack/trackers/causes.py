"""What a client library's error means, in a few words that a user understands.

The libraries wrap a refused connection in the names of their classes and in each other's messages:
the cause is the innermost part, and everything around it is noise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_PROXY = re.compile(
    r"Unable to connect to proxy|Cannot connect to proxy|Tunnel connection failed|proxyconnect"
)
_TUNNEL = re.compile(r"Tunnel connection failed: (\d+ [\w ]+)")
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
_ERRNO = re.compile(r"\[Errno -?\d+\] ([^\"')\]]+)")
#: How Go's library, which W&B's service uses, says what the system said.
_DIALLED = re.compile(r"\b(?:dial|read|write) tcp\b.*?: (?:\w+: )?([a-z][\w -]+?)(?:\"|$|\))")
_CERTIFICATE = re.compile(r"certificate verify failed: ([^(\"')]+)|x509: ([^\"')]+)")

#: Patterns of messages, and what they mean; the first that matches counts.
_MEANINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (r"Failed to resolve '([^']+)'", lambda m: f"cannot be reached (no such host: {m[1]})"),
        (r"no such host", lambda m: "cannot be reached (no such host)"),
        (r"Read timed out\. \(read timeout=([\d.]+)\)", lambda m: f"has not answered for {m[1]} s"),
        (
            r"timed out\. \(connect timeout=([\d.]+)\)",
            lambda m: f"cannot be reached (no connection within {m[1]} s)",
        ),
        (
            r"RemoteDisconnected|Remote end closed connection|ConnectionResetError|reset by peer",
            lambda m: "closed the connection before it had answered",
        ),
        (
            r"IncompleteRead|InvalidChunkLength|Connection broken|unexpected EOF",
            lambda m: "closed the connection in the middle of its answer",
        ),
        (r"WRONG_VERSION_NUMBER|first record does not look like a TLS handshake",
         lambda m: "does not speak TLS. Fix: write http:// instead of https://"),
        (r"Exceeded \d+ redirects", lambda m: "redirects without end"),
        (r"too many (\d{3}) error responses", lambda m: f"answers {m[1]}"),
        (r"Failed to parse: |No connection adapters were found|Invalid URL",
         lambda m: "has no valid address"),
    )
)  # fmt: skip
#: Signs of a message that is made of other messages.
_NOISE = re.compile(r"HTTPS?Connection(?:Pool)?\(|Max retries exceeded|Caused by | object at 0x")


def connection_trouble(text: str) -> str | None:
    """Returns what went wrong with a connection, as words that follow the server's name.

    Args:
        text: an error message, without credentials.

    Returns:
        None if the message is about something else.
    """
    if _PROXY.search(text):
        tunnel = _TUNNEL.search(text)
        return _through_proxy(tunnel[1].strip() if tunnel else _system_reason(text))
    if (certificate := _CERTIFICATE.search(text)) is not None:
        reason = (certificate[1] or certificate[2]).strip()
        return f"has a certificate that cannot be verified ({reason})"
    for pattern, meaning in _MEANINGS:
        if (match := pattern.search(text)) is not None:
            return meaning(match)
    if (reason := _system_reason(text)) is not None and (
        _NOISE.search(text) or _DIALLED.search(text)
    ):
        return f"cannot be reached ({reason})"
    return "cannot be reached" if _NOISE.search(text) else None


def refused_connection(uri: str, reason: str) -> str:
    """Returns that a server cannot be reached, and through which proxy if there is one.

    Args:
        uri: the server's address.
        reason: what the system said.
    """
    parts = urlsplit(uri)
    if getproxies().get(parts.scheme) and not proxy_bypass(parts.hostname or ""):
        return _through_proxy(reason)
    return f"cannot be reached ({reason})"


def shortened(text: str, limit: int) -> str:
    """Returns at most about `limit` characters: whole sentences, or else whole words and `…`."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    end = max(head.rfind(". "), head.rfind("! "), head.rfind("? "))
    if end > limit // 3:
        return head[: end + 1]
    words = head.rpartition(" ")[0]
    return f"{words if len(words) > limit // 2 else head}…"


def _through_proxy(reason: str | None) -> str:
    names = [name for name in sorted(os.environ) if name.lower() in _PROXY_VARIABLES]
    listed = " and ".join(name for name in names if os.environ[name]) or "the proxy's address"
    why = f" ({reason})" if reason else ""
    return (
        f"cannot be reached through the proxy{why}. Fix: correct or unset {listed}, or name the "
        "server in NO_PROXY"
    )


def _system_reason(text: str) -> str | None:
    match = _ERRNO.search(text) or _DIALLED.search(text)
    return match[1].strip() if match is not None else None
