"""Locks that keep two processes from doing the same work.

There is one shipper for each machine, directory and set of credentials, and one process for each
delivery: a shipper, a training that delivers from a thread, or `lrtrack sync`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import threading
import time
from pathlib import Path

from lrtrack.journal.descriptor import Descriptor
from lrtrack.journal.gate import locks
from lrtrack.journal.obstacles import stranger_of

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
                for a moment.

        Raises:
            OSError: the file cannot be created, or belongs to another user and cannot be replaced.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                file = Descriptor(self._path)
            except PermissionError as error:
                if _is_held_by_a_stranger(self._path):
                    return False
                _remove_strangers(self._path, error)
                continue
            if locks(file.number, fcntl.LOCK_EX) and file.is_at(self._path):
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
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:
        return _is_held_by_a_stranger(path)
    except OSError:
        return False
    try:
        for _ in range(4):  # several times: another process's check would look like a holder
            free = locks(file, fcntl.LOCK_SH) and locks(file, fcntl.LOCK_EX)
            fcntl.flock(file, fcntl.LOCK_UN)  # also for a child that is forked meanwhile
            if free:
                return False
            time.sleep(_jitter.uniform(0.001, 0.005))
        return _is_at(file, path)
    except OSError:  # a file system without locks: nobody can hold one
        return False
    finally:
        os.close(file)


def _is_held_by_a_stranger(path: Path) -> bool:
    """Returns whether a process of another user holds the lock, whose file cannot be opened.

    The kernel lists all locks by the number of their file; see proc(5). Processes in other
    containers may be missing: a holder that is replaced nevertheless notices it by `kept`.
    """
    try:
        number = str(path.lstat().st_ino)
        with Path("/proc/locks").open() as lines:
            return any(number in line.replace(":", " ").split() for line in lines)
    except OSError:
        return False


def _remove_strangers(path: Path, error: PermissionError) -> None:
    """Deletes the lock file that another user's process has left, as `sudo` does.

    Raises:
        PermissionError: it is this user's own, or the directory is not.
    """
    stranger = stranger_of(path)
    if stranger is None:
        raise error
    try:
        path.unlink(missing_ok=True)
    except OSError:
        raise PermissionError(
            errno.EACCES, f"belongs to the user {stranger}. Fix: delete it", str(path)
        ) from error


def _is_at(file: int, path: Path) -> bool:
    """Returns whether the open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False
