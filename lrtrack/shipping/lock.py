"""The lock that makes the shipper of a machine and directory the only one.

A shipper process holds it alone. Trainings that deliver from a thread, each its own run, share it
among themselves, and no process ships beside them.
"""

from __future__ import annotations

import fcntl
import os
import random
import threading
import time
from enum import StrEnum
from pathlib import Path

from lrtrack.journal.descriptor import Descriptor

#: Seconds in which a lock must be refused again and again: a look at it takes microseconds.
GLANCE = 0.1

_jitter = random.Random()  # noqa: S311 (of its own: the training's random state is not ours)


class Holder(StrEnum):
    """Who may hold the lock."""

    PROCESS = "process"
    THREADS = "threads"


class Lock:
    """An advisory lock on a file; the system lets go of it when its process dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Descriptor | None = None
        self._how = fcntl.LOCK_EX
        self._renewing = threading.Lock()

    def acquire(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free; OSError where the file cannot be made."""
        self._how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        deadline = time.monotonic() + GLANCE
        while True:
            file = Descriptor(self._path)
            if _locks(file.number, self._how) and file.is_at(self._path):
                self.release()
                self._file = file
                return True
            file.close()
            if time.monotonic() > deadline:
                return False
            time.sleep(_jitter.uniform(0.001, 0.01))

    def kept(self) -> bool:
        """Whether the lock still keeps others away, taken anew where its file was deleted.

        False once somebody else has made the file again and locked it.
        """
        with self._renewing:
            if self._file is not None and self._file.is_at(self._path):
                return True
            try:
                return self.acquire(shared=self._how == fcntl.LOCK_SH)
            except OSError:  # the whole directory is away: nobody else can have it there either
                return True

    def release(self) -> None:
        """Let go; idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None


def holder(path: Path) -> Holder | None:
    """Who holds the lock now; None where nobody does."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    found = None
    try:
        for _ in range(4):  # more than once: somebody else's look would be taken for a holder
            if not _locks(file, fcntl.LOCK_SH):
                found = Holder.PROCESS
            elif not _locks(file, fcntl.LOCK_EX):
                found = Holder.THREADS
            else:
                return None
            fcntl.flock(file, fcntl.LOCK_UN)
            time.sleep(_jitter.uniform(0.001, 0.005))
    finally:
        os.close(file)
    return found


def held(path: Path) -> bool:
    """Whether somebody holds the lock now."""
    return holder(path) is not None


def _locks(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
