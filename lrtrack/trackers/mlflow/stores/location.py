"""The addresses of stores that may be read without MLflow, resolved as its client does."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from lrtrack.trackers.mlflow.store import PLAIN_SQLITE, absolute_sqlite, with_credentials

#: Groups of entry points through which packages change where and how MLflow's client reads.
_PLUGINS = (
    "mlflow.tracking_store",
    "mlflow.artifact_repository",
    "mlflow.request_header_provider",
    "mlflow.request_auth_provider",
)
#: Variables under which only the client knows which store, or which part of it, is meant.
_UNUSUAL = ("DATABRICKS_RUNTIME_VERSION", "MLFLOW_WORKSPACE", "MLFLOW_ENABLE_WORKSPACES")
_DEFAULT = "sqlite:///mlflow.db"
#: Where MLflow kept runs in files, which it goes on to use if there are any.
_FILES, _FILE = "mlruns", "meta.yaml"


def direct_address(uri: str | None) -> str | None:
    """The absolute address, with its credentials, of a store that may be read directly.

    Args:
        uri: without credentials; None: MLflow's default.

    Returns:
        `sqlite:///` and a plain path, or an HTTP address; None: the client must read the store.
    """
    if any(os.environ.get(name) for name in _UNUSUAL):
        return None
    if uri is None:
        address = None if _has_file_store() else _database(_DEFAULT)
    elif uri.startswith("sqlite:"):
        address = _database(uri)
    else:
        address = _server(with_credentials(uri))
    return None if address is None or _has_plugins() else address


def _database(uri: str) -> str | None:
    """The absolute address of a SQLite database; None if its path is not a plain one."""
    if not PLAIN_SQLITE.fullmatch(uri):
        return None
    address = absolute_sqlite(uri)
    return address if PLAIN_SQLITE.fullmatch(address) else None


def _has_file_store() -> bool:
    """Whether the working directory has runs in files, which are then MLflow's default store."""
    try:
        folders = [entry for entry in Path(_FILES).iterdir() if entry.name.isdigit()]
        return any(os.path.lexists(folder / _FILE) for folder in folders)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _server(uri: str) -> str | None:
    """The address of an HTTP server that is asked directly; None for any other store."""
    # A program that has imported MLflow may have set more than variables, and waits no more for it.
    if not uri.startswith(("http://", "https://")) or "mlflow" in sys.modules:
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    plain = parts.hostname and not parts.query and not parts.fragment
    return uri if plain and not re.search(r"[\s\\]", uri) else None


def _has_plugins() -> bool:
    """Whether any package besides MLflow takes part in reading its stores."""
    known = ("mlflow.", "lrtrack.")
    entries = entry_points()
    return any(
        not entry.value.startswith(known) for group in _PLUGINS
        for entry in entries.select(group=group)
    )  # fmt: skip
