"""The file of a journal that is being written: kept at its path, and never confused with
another.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from lrtrack.errors import JournalError
from lrtrack.journal import segments
from lrtrack.journal.open_file import opened
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.repair import restored


class JournalFile:
    """A journal, open and locked. For one thread at a time.

    Attributes:
        path: where it is.
        fresh: the file was created here.
        first: the frame that says whose journal it is; set once it is known, and written again if
            the file must be started anew.

    Raises:
        JournalError: the file cannot be created, or another process is writing it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = b""
        self._file, self.fresh = opened(path)

    @property
    def number(self) -> int:
        """The descriptor's number, checked just now.

        Raises:
            OSError: it was closed, or belongs to another file.
        """
        return self._file.number

    def append(self, data: bytes) -> None:
        """Appends all of `data` or nothing.

        A file that other code of this process has closed is opened again first.

        Raises:
            OSError, JournalError: that is impossible at present.
        """
        if not self._file.is_valid():
            self._reopen()
        self._file.append(data)

    @property
    def is_open(self) -> bool:
        """Whether the file is open, and was not closed by other code."""
        return self._file.is_valid()

    def is_lost(self) -> bool:
        """Returns whether the open file is no longer the one at its path, or no longer open."""
        return not self._file.is_at(self.path)

    def put_back(self) -> None:
        """Puts the journal back at its path, with everything that was written to it.

        Raises:
            OSError, JournalError: that is impossible at present, or another process writes there.
        """
        if not self._file.is_valid():
            self._reopen()
        else:
            copy = restored(self._file, self.path)
            self._file.close()
            self._file = copy

    def close(self) -> None:
        """Releases the file. Idempotent."""
        self._file.close()

    def discard(self) -> None:
        """Closes the file and deletes it."""
        if not self.is_lost():
            with contextlib.suppress(OSError):
                self.path.unlink()
        self.close()

    def _reopen(self) -> None:
        """Continues in the file at the path: the same one, a copy of it, or a new one."""
        file, fresh = opened(self.path)
        try:
            if not fresh and not file.same_file(self._file):
                self._require_same_run()
        except BaseException:
            file.close()
            raise
        # The number of a deleted file is soon that of a new one.
        changed = fresh or not file.same_file(self._file)
        self._file.close()
        self._file = file
        if changed and self.first:
            self._file.append(self.first)

    def _require_same_run(self) -> None:
        """Refuses a file at the path that belongs to another run.

        Raises:
            JournalError: it does.
        """
        journal = segments.first_of(self.path)
        if journal != self.path:
            _require_header(self.path, journal)
            return
        run_id = JournalReader(self.path).run.id
        if self.path.stem != run_id:
            raise JournalError(f"{self.path} was replaced by the journal of the run {run_id}")


def _require_header(path: Path, journal: Path) -> None:
    """Refuses a file that is not the segment that its name says.

    Raises:
        OSError, JournalError: it is not, or cannot be read.
    """
    segment = segments.Segment(path, int(path.stem), int(path.stem))
    if not segments.belongs(segment, journal):
        raise JournalError(f"{path} was replaced by another file")
