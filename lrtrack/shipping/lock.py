"""Locks that keep two processes from doing the same work.

There is one shipper for each machine, directory and set of credentials, and one process for each
delivery: a shipper, a training that delivers from a thread, or `lrtrack sync`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import threading
import time
from pathlib import Path

from lrtrack.journal.descriptor import Descriptor

#: Seconds for which a lock must be refused repeatedly: a check of it takes microseconds.
GLANCE = 0.1

_jitter = random.Random()  # noqa: S311 (of its own: the training's random state is not ours)


class Lock:
    """An advisory lock on a file, released by the system when its process dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Descriptor | None = None
        self._renewing = threading.Lock()

    def acquire(self, patience: float = GLANCE) -> bool:
        """Takes the lock if it is free, and returns whether it did.

        Args:
            patience: seconds in which to try again, because another process's check takes the lock
                for
                a moment.

        Raises:
            OSError: the file cannot be created.
        """
        deadline = time.monotonic() + patience
        while True:
            file = Descriptor(self._path)
            if _locks(file.number, fcntl.LOCK_EX) and file.is_at(self._path):
                self.release()
                self._file = file
                return True
            file.close()
            if time.monotonic() > deadline:
                return False
            time.sleep(_jitter.uniform(0.001, 0.01))

    def kept(self) -> bool:
        """Returns whether the lock is still effective; takes it again if its file was deleted.

        False if another process has created the file again and locked it.
        """
        with self._renewing:
            if self._file is not None and self._file.is_at(self._path):
                return True
            try:
                return self.acquire()
            except (
                OSError
            ):  # the whole directory is gone, so no other process can have the lock there
                return True

    def release(self) -> None:
        """Releases the lock. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Releases the lock and deletes the file. Idempotent.

        A process that has opened the file meanwhile finds it deleted, and tries again.
        """
        if self._file is not None and self._file.is_at(self._path):
            with contextlib.suppress(OSError):
                self._path.unlink()
        self.release()


def held(path: Path) -> bool:
    """Returns whether some process holds the lock now."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        for _ in range(4):  # several times: another process's check would look like a holder
            if _locks(file, fcntl.LOCK_SH) and _locks(file, fcntl.LOCK_EX):
                return False
            fcntl.flock(file, fcntl.LOCK_UN)
            time.sleep(_jitter.uniform(0.001, 0.005))
        return _is_at(file, path)
    finally:
        os.close(file)


def _locks(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: int, path: Path) -> bool:
    """Returns whether the open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False
