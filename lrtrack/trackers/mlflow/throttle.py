"""Taking turns at a database, which many runs are delivered to at the same time.

SQLite has one writer: the others would wait inside MLflow, each with one of its connections, and
try again after ever longer pauses. Of other databases MLflow has 15 connections at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Runs written at the same time, by how the store's URI begins; a server looks after itself.
_AT_ONCE = {"sqlite": 1, "postgresql": 8, "mysql": 8, "mssql": 8}

_lock = threading.Lock()
_turns: dict[str, threading.Semaphore] = {}


@contextmanager
def turn(uri: str) -> Iterator[None]:
    """Wait until the store at `uri` takes another writer, and be that writer for a moment."""
    limit = next((n for name, n in _AT_ONCE.items() if uri.startswith(name)), None)
    if limit is None:
        yield
        return
    with _lock:
        mine = _turns.setdefault(uri, threading.Semaphore(limit))
    with mine:
        yield
