"""A file descriptor that is used only while its number still belongs to the opened file.

Other code in the training process may close every descriptor that it did not open (daemonizing,
`os.closerange`), and the next file to be opened gets the same number. Code that keeps only the
number would then write to that file, truncate it, lock it or close it.

A forked child has copies of all descriptors. It closes them at once: it must not write to these
files, and its copies would keep the locks of a parent that has died.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import io
import os
import weakref
from functools import partial
from pathlib import Path

#: The highest number of a standard stream.
_STANDARD = 2
#: Opens a file that only the user can read. In C, so that Ctrl-C cannot come between the opening
#: and the object that owns the descriptor.
_open_private = partial(os.open, mode=0o600)

_all: weakref.WeakSet[Descriptor] = weakref.WeakSet()


class Descriptor:
    """An open file for reading and appending, created with mode 0600 if it is missing.

    It is closed when the object is deleted, at the latest.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        refuse_link(path)
        self._process = os.getpid()
        self._file = io.FileIO(path, "a+", opener=_open_private)
        try:
            self._leave_standard_streams()
            refuse_link(path)  # one that was put there meanwhile; nothing is written yet
            _all.add(self)
            status = os.fstat(self._file.fileno())
            self._identity = (status.st_dev, status.st_ino, self._access())
        except BaseException:  # an interrupt, whose traceback would keep the file open
            self._file.close()
            raise

    @property
    def number(self) -> int:
        """The descriptor's number, checked just now.

        Raises:
            OSError: it was closed, or belongs to another file.
        """
        if not self.is_valid():
            raise OSError(errno.EBADF, "the file was closed by other code of this process")
        return self._file.fileno()

    def is_valid(self) -> bool:
        """Returns whether the number still belongs to the file, opened as it was opened here."""
        if self._file.closed:
            return False
        try:
            status = os.fstat(self._file.fileno())
            return (status.st_dev, status.st_ino, self._access()) == self._identity
        except OSError:
            return False

    def same_file(self, other: Descriptor) -> bool:
        """Returns whether both are open on the same file."""
        return self._identity == other._identity

    def is_at(self, path: Path) -> bool:
        """Returns whether the file is open, and still the one at `path`."""
        try:
            status = path.stat()
        except OSError:
            return False
        return self.is_valid() and (status.st_dev, status.st_ino) == self._identity[:2]

    def append(self, data: bytes) -> None:
        """Appends all of `data` or nothing.

        Raises:
            OSError: the disk refuses it, or the file was closed.
        """
        before = os.fstat(self.number).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self.number, view) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self.number, before)
            raise

    def close(self) -> None:
        """Closes the file, but not another file that has its number now. Idempotent."""
        if self._file.closed:
            return
        if self.is_valid():
            with contextlib.suppress(OSError):
                if self._process == os.getpid():  # also for a child that has a copy
                    fcntl.flock(self._file, fcntl.LOCK_UN)
            with contextlib.suppress(OSError):  # it is closed anyway
                self._file.close()
        else:
            # Python would close the number when it deletes the object, even at its own exit.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._file))
            self._file = _closed()

    def _leave_standard_streams(self) -> None:
        """Takes a higher number where that of a closed standard stream was the lowest free one.

        Whatever a library prints would otherwise be written to this file.
        """
        if self._file.fileno() <= _STANDARD:
            number = fcntl.fcntl(self._file.fileno(), fcntl.F_DUPFD_CLOEXEC, _STANDARD + 1)
            low, self._file = self._file, io.FileIO(number, "a+")
            low.close()

    def _access(self) -> int:
        return fcntl.fcntl(self._file.fileno(), fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never opened
            self.close()


def refuse_link(path: Path) -> None:
    """Refuses a link: one in a journal directory from elsewhere may lead anywhere.

    Raises:
        OSError: there is one at `path`.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "a symbolic link in its place", str(path))


def _close_in_child() -> None:
    for descriptor in list(_all):
        descriptor.close()


os.register_at_fork(after_in_child=_close_in_child)


def _closed() -> io.FileIO:
    file = io.FileIO(os.devnull)
    file.close()
    return file
