"""The files of a journal that is being written: one at a time, each of a bounded size."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from lrtrack.errors import JournalError
from lrtrack.journal import overflow, segments
from lrtrack.journal.descriptor import Descriptor
from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.journal_file import JournalFile
from lrtrack.journal.layout import private_directory


class SegmentedFile:
    """A journal, open and locked. For one thread at a time.

    The files that are full stay open until they are packed, so that they can be put back if the
    journal is deleted while its run is running.

    Attributes:
        path: where its first segment is.
        fresh: the journal was created here.

    Args:
        path: see above.
        spare: follows the file that is being written; None: there is none.

    Raises:
        JournalError: the file cannot be created, or another process is writing it.
    """

    def __init__(self, path: Path, spare: overflow.Overflow | None = None) -> None:
        self.path = path
        self._spare = spare
        self._first = JournalFile(path)
        self.fresh = self._first.fresh
        self._files = [self._first]
        self._start = 0
        self._least = len(PREAMBLE)
        try:
            self._open_later()
        except BaseException:
            self.close()
            raise

    def _open_later(self) -> None:
        """Opens the later segments of a journal that is continued."""
        try:
            later = segments.segments_of(self.path)[1:]
            for segment in later:
                if not segment.is_packed and segments.belongs(segment, self.path):
                    self._take(JournalFile(segment.path), segment.start)
            if later and later[-1].end > self._end:
                self._take(self._begin(later[-1].end), later[-1].end)
        except OSError as error:
            raise JournalError(f"cannot write {self.path}: {error}") from error

    def _take(self, file: JournalFile, start: int) -> None:
        """Makes `file` the one that is written."""
        file.first = segments.header(self.path, start)[len(PREAMBLE) :]
        self._files.append(file)
        self._start, self._least = start, len(PREAMBLE) + len(file.first)
        if self._spare is not None:
            self._spare.follow(file.path)

    @property
    def first(self) -> bytes:
        """The frame that says whose journal it is, written again if it must be started anew."""
        return self._first.first

    @first.setter
    def first(self, frame: bytes) -> None:
        self._first.first = frame

    def begin(self, frame: bytes) -> bool:
        """Writes the frame that says whose journal it is, unless that is there; returns whether.

        Raises:
            JournalError: the disk has no room even for that; the file is deleted.
        """
        self.first = frame
        if self.fresh:
            try:
                self.append(frame)
            except OSError as error:
                self.discard()
                raise JournalError(f"cannot write {self.path}: {error}") from error
        return self.fresh

    @property
    def number(self) -> int:
        """The descriptor's number of the file that is written, checked just now.

        Raises:
            OSError: it was closed, or belongs to another file.
        """
        return self._files[-1].number

    @property
    def _end(self) -> int:
        return self._start + os.fstat(self.number).st_size

    def append(self, data: bytes) -> None:
        """Appends all of `data` or nothing.

        Raises:
            OSError, JournalError: that is impossible at present.
        """
        with contextlib.suppress(OSError, JournalError):  # then this file goes on
            self._begin_next(len(data))
        self._files[-1].append(data)
        if len(self._files) > 1:
            with contextlib.suppress(OSError):  # its time shows others that the run is going on
                os.utime(self._first.number)

    def _begin_next(self, coming: int) -> None:
        """Begins the next segment if this one would grow past the limit."""
        size = os.fstat(self.number).st_size
        if size <= self._least or size + coming <= segments.LIMIT:
            return
        # Frames on another disk belong behind what this file has now.
        if self._spare is not None and overflow.has_parts(self._files[-1].path):
            return
        start = self._start + size
        self._take(self._begin(start), start)

    def _begin(self, start: int) -> JournalFile:
        """Creates a segment, which appears at its path with its header complete.

        Raises:
            OSError, JournalError: that is impossible at present.
        """
        path = segments.raw_path(self.path, start)
        private_directory(path.parent)
        for left in path.parent.glob(f".*{path.suffix}.*"):  # by attempts that were killed
            left.unlink(missing_ok=True)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        file = Descriptor(draft)
        try:
            file.append(segments.header(self.path, start))
            if path.exists():
                raise JournalError(f"{path} is there already")
            draft.rename(path)
        finally:
            file.close()
            draft.unlink(missing_ok=True)
        return JournalFile(path)

    def is_lost(self) -> bool:
        """Returns whether an open file is no longer the one at its path, or no longer open."""
        for file in self._files[1:-1]:
            if not file.is_open or self._is_packed(file):
                file.close()
                self._files.remove(file)
        return any(file.is_lost() for file in self._files)

    def _is_packed(self, file: JournalFile) -> bool:
        """Returns whether a full segment is gone from its path because it was packed."""
        return file.is_lost() and any(file.path.parent.glob(f"{file.path.stem}-*.parquet"))

    def keep(self, on_lost: Callable[[], None] | None) -> None:
        """Restores the files at their paths if they were deleted, or closed by other code.

        Args:
            on_lost: called before and after that, for the journal's other files.

        Raises:
            OSError, JournalError: that is impossible at present.
        """
        if not self.is_lost():
            return
        if on_lost is not None:
            on_lost()
        self.put_back()
        if on_lost is not None:
            on_lost()

    def put_back(self) -> None:
        """Puts the journal back at its path, with everything that its open files hold.

        Raises:
            OSError, JournalError: that is impossible at present, or another process writes there.
        """
        for file in self._files:
            if file.is_lost():
                file.put_back()

    def close(self) -> None:
        """Releases the files. Idempotent."""
        for file in reversed(self._files):  # the lock of the journal last
            file.close()

    def discard(self) -> None:
        """Closes the journal and deletes it."""
        for file in reversed(self._files):
            file.discard()
        with contextlib.suppress(OSError):
            segments.folder_of(self.path).rmdir()
