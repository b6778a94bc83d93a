"""The lock that makes the shipper of a machine and directory the only one."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Lock:
    """An advisory lock on a file; the system lets go of it when its process dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def acquire(self) -> bool:
        """Take the lock if it is free; OSError where the file cannot be made."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Let go; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def held(path: Path) -> bool:
    """Whether some process holds the lock now."""
    lock = Lock(path)
    try:
        free = lock.acquire()
    except OSError:
        return False
    lock.release()
    return not free
