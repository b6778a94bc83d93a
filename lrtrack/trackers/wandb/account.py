"""The account behind the API key, asked of a W&B server without importing W&B.

Every answer other than the expected one, redirects included, is left to W&B's client, so that the
key goes to no other address than the server's.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from lrtrack import __version__
from lrtrack.trackers.wandb import destination, login

#: Variables with which only W&B's client knows how to connect or to authenticate.
_UNUSUAL = re.compile(r"WANDB_.*(PROX|HEADER|SSL|CERT|IDENTITY|CREDENTIALS)")
#: The same in its settings files.
_UNUSUAL_SETTINGS = (
    *("http_proxy", "https_proxy", "x_proxies", "_proxies", "insecure_disable_ssl"),
    *("x_extra_http_headers", "_extra_http_headers", "identity_token_file"),
)
#: Seconds to wait for the server, and the most bytes of its answer.
_TIMEOUT, _MOST = 10.0, 1 << 16
_QUERY = "query Viewer { viewer { username entity } }"


def name_at(uri: str | None) -> str | None:
    """The name of the account.

    Args:
        uri: the server's address; None: W&B's own server.

    Returns:
        The user's name, else that of the default entity; None where W&B's client must be asked.
    """
    parts = urlsplit(uri or destination.DEFAULT_URL)
    key = None if _is_unusual() else login.key_of(parts.netloc)
    if key is None or not key.isascii() or parts.username or parts.query or parts.fragment:
        return None
    try:
        answer = _asked(parts.scheme, parts.hostname or "", parts.port, parts.path, key)
        viewer = answer["data"]["viewer"]
        name = viewer["username"] or viewer["entity"]
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return None
    return name if name and isinstance(name, str) else None


def _is_unusual() -> bool:
    return (
        "wandb" in sys.modules  # which the program may have logged in
        or any(value and _UNUSUAL.match(name) for name, value in os.environ.items())
        or any(destination.settings_value(key) is not None for key in _UNUSUAL_SETTINGS)
        or bool(getproxies())
    )


def _asked(scheme: str, host: str, port: int | None, path: str, key: str) -> Any:
    if scheme == "https":
        context = _trusted()
        connection: HTTPConnection = HTTPSConnection(host, port, timeout=_TIMEOUT, context=context)
    elif scheme == "http":
        connection = HTTPConnection(host, port, timeout=_TIMEOUT)
    else:
        raise ValueError(f"the scheme {scheme!r}")
    login_text = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {
        "Authorization": f"Basic {login_text}",
        "Content-Type": "application/json",
        "User-Agent": f"lrtrack {__version__}",
    }
    try:
        body = json.dumps({"query": _QUERY, "operationName": "Viewer", "variables": {}})
        connection.request("POST", f"{path.rstrip('/')}/graphql", body, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"the server answers {response.status}")
        return json.loads(response.read(_MOST))
    finally:
        connection.close()


def _trusted() -> ssl.SSLContext:
    """The authorities that verify the server's certificate; those of the user, if named."""
    path = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if path and Path(path).is_dir():
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path or None)
