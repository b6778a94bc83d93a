"""A limit on how many runs are written to one database at the same time.

SQLite allows one writer: the others would wait inside MLflow, each holding one of its connections,
and retry after ever longer pauses. MLflow opens at most 15 connections to other databases.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: The most runs written at a time, by the beginning of the store's URI. A tracking server, which
#: is not listed, limits its own writers.
_MAX_WRITERS = {"sqlite": 1, "postgresql": 8, "mysql": 8, "mssql": 8}

_lock = threading.Lock()
_slots: dict[str, threading.Semaphore] = {}


@contextmanager
def writer_slot(uri: str) -> Iterator[None]:
    """Wait until the store at `uri` takes another writer, and hold a slot during the block."""
    limit = next((n for name, n in _MAX_WRITERS.items() if uri.startswith(name)), None)
    if limit is None:
        yield
        return
    with _lock:
        slots = _slots.setdefault(uri, threading.Semaphore(limit))
    with slots:
        yield
