"""The file of a journal that is being written: kept at its path, and never mistaken for another."""

from __future__ import annotations

import contextlib
from pathlib import Path

from lrtrack.errors import JournalError
from lrtrack.journal.open_file import opened
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.repair import restored


class JournalFile:
    """A journal, open and locked. For one thread at a time.

    Attributes:
        path: where it lies.
        fresh: the file was created here.
        first: the frame that says whose journal it is; set once it is known, and written again
            where the file has to be begun anew.

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
        """Append `data` whole or not at all.

        A file that other code of this process has closed is opened again first.

        Raises:
            OSError, JournalError: that cannot be done now.
        """
        if not self._file.is_valid():
            self._reopen()
        self._file.append(data)

    def is_lost(self) -> bool:
        """Whether the open file is no longer the one at its path, or no longer open."""
        return not self._file.is_at(self.path)

    def put_back(self) -> None:
        """Have the journal at its path again, with all that was written to it.

        Raises:
            OSError, JournalError: that cannot be done now, or another process writes there.
        """
        if not self._file.is_valid():
            self._reopen()
        else:
            copy = restored(self._file, self.path)
            self._file.close()
            self._file = copy

    def close(self) -> None:
        """Let go of the file; idempotent."""
        self._file.close()

    def discard(self) -> None:
        """Close the file and delete it."""
        if not self.is_lost():
            with contextlib.suppress(OSError):
                self.path.unlink()
        self.close()

    def _reopen(self) -> None:
        """Go on in the file at the path: the same one, a copy of it, or a new one."""
        file, fresh = opened(self.path)
        try:
            if not fresh and not file.same_file(self._file):
                self._require_same_run()
        except BaseException:
            file.close()
            raise
        # The number of a file that was deleted is soon that of a new one.
        changed = fresh or not file.same_file(self._file)
        self._file.close()
        self._file = file
        if changed and self.first:
            self._file.append(self.first)

    def _require_same_run(self) -> None:
        """Refuse a file that somebody has put at the path and that is another run's.

        Raises:
            JournalError: it is.
        """
        found = JournalReader(self.path).run.id
        if self.path.stem != found:
            raise JournalError(f"{self.path} was replaced by the journal of the run {found}")
