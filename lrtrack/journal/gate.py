"""A gate: as long as a process keeps it closed, nothing is delivered to one tracker of a run.

The process holds a lock on the gate's file, which the system releases when the process dies. Its id
in the file is only asked for where the lock is gone, since other code may have closed the file: an
id alone may be that of another process by now.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

from lrtrack.journal.descriptor import Descriptor

#: Seconds in which a look by another process, which takes microseconds, is waited for.
_PATIENCE = 1.0
#: Seconds by which the start of a process and the time of a file may be off.
_SLACK = 2.0


class Gate:
    """A gate of this process; open until `close` is called.

    Args:
        path: its file, which exists while the gate is closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Descriptor | None = None

    @property
    def is_closed(self) -> bool:
        """Whether this process keeps it closed."""
        return self._file is not None and self._path.exists()

    def close(self) -> None:
        """Holds deliveries back.

        Raises:
            OSError: the file cannot be created, or another process keeps the gate closed.
        """
        if self.is_closed:
            return
        file = Descriptor(self._path)
        deadline = time.monotonic() + _PATIENCE
        while not locks(file.number, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                file.close()
                raise OSError(errno.EWOULDBLOCK, "another process keeps it", str(self._path))
            time.sleep(0.01)
        os.ftruncate(file.number, 0)
        file.append(str(os.getpid()).encode())
        self._file = file

    def open(self) -> None:
        """Lets deliveries through. Idempotent."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._file.close()
            self._file = None


def is_closed(path: Path) -> bool:
    """Returns whether some process keeps the gate at `path` closed."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)  # perhaps: the next look shows it
    try:
        if not locks(file, fcntl.LOCK_SH):
            return True
        fcntl.flock(file, fcntl.LOCK_UN)  # also for a child that is forked meanwhile
        process = int(os.pread(file, 20, 0))
        started = _start_of(process)
        return started is not None and started <= os.fstat(file).st_mtime + _SLACK
    except (OSError, ValueError):
        return False
    finally:
        os.close(file)


def locks(file: int, how: int) -> bool:
    """Lock an open file if nobody else has locked it, without waiting; returns whether it did."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_of(process: int) -> float | None:
    """Returns when a process began, in seconds since the epoch: 0 if unknown, None if it is dead.

    Field 22 of `/proc/PID/stat` counts clock ticks since the machine's start; see proc(5).
    """
    try:
        os.kill(process, 0)
    except PermissionError:
        pass
    except (OSError, OverflowError):
        return None
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
