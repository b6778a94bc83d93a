"""Opens a journal's file for writing: one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from lrtrack.errors import JournalError
from lrtrack.journal.descriptor import Descriptor
from lrtrack.journal.framing import PREAMBLE


def opened(path: Path) -> tuple[Descriptor, bool]:
    """Opens, locks and, if it is new, starts the file; returns also whether it is new.

    Raises:
        JournalError: that is impossible, or another process is writing it.
    """
    file = None
    try:
        file = Descriptor(path)
        _lock(file.number, path)
        return file, _begin(file.number, path)
    except BaseException as error:
        if file is not None:
            file.close()
        if isinstance(error, OSError):
            raise JournalError(f"cannot write {path}: {error}") from error
        raise


def _lock(file: int, path: Path) -> None:
    """Takes the lock that shows that the writer is alive."""
    deadline = time.monotonic() + 1.0
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:  # a shipper's check of the lock takes microseconds
            if time.monotonic() > deadline:
                raise JournalError(f"another process is writing {path}") from None
            time.sleep(0.01)


def _begin(file: int, path: Path) -> bool:
    """Writes the preamble into a file that has none; returns whether it did."""
    head = os.pread(file, len(PREAMBLE), 0)
    if head == PREAMBLE:
        return False
    if not PREAMBLE.startswith(head):
        raise JournalError(f"cannot continue {path}: it is no journal of this format")
    os.ftruncate(file, 0)
    try:
        if os.write(file, PREAMBLE) < len(PREAMBLE):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        path.unlink()  # an empty file would look like a broken journal
        raise
    return True
