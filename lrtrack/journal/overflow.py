"""What a full disk refuses of a journal: kept on another disk, and moved back later.

A part is a file in a private directory of the user's, in the format of a journal. Its first event
names the journal and its length at that time; then come the frames that belong behind it. The next
process that has the journal to itself (its writer, a shipper, `lrtrack sync`, a report) appends
them. Doing so twice, or being killed in the middle, adds nothing twice: the journal's bytes after
that length are compared with the part first.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from lrtrack.errors import JournalError
from lrtrack.journal import segments
from lrtrack.journal.descriptor import Descriptor
from lrtrack.journal.events import event_frame
from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.open_file import opened
from lrtrack.journal.reader import JournalReader
from lrtrack.user_state import private_directories

_FOLDER, _SUFFIX, _EVENT = "overflow", ".part", "overflow"
#: Bytes compared or copied at once.
_CHUNK = 2**20


class Numbered(Protocol):
    """An open file."""

    @property
    def number(self) -> int:
        """Its descriptor's number."""
        ...


class Overflow:
    """The parts of one journal that its writer adds.

    Args:
        journal: the file of the journal that has no room.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._part: Descriptor | None = None
        self._path = Path()
        self._length = 0

    def __bool__(self) -> bool:
        """Whether something is kept here that the journal lacks."""
        return self._length > 0

    @property
    def place(self) -> Path:
        """The directory of the latest part."""
        return self._path.parent

    def follow(self, journal: Path) -> None:
        """Takes note of the file of the journal that is being written now."""
        if journal != self._journal:
            self.release()
            self._journal = journal

    def append(self, frame: bytes) -> bool:
        """Stores a frame behind those before it; returns False if no disk takes it."""
        if self._part is not None and self._write(frame):
            return True
        full = None if self._part is None else self.place.parent
        others = [place for place in private_directories() if place != full]
        return any(self._begin(place) and self._write(frame) for place in others)

    def move_to(self, file: Numbered) -> None:
        """Appends everything that is stored to the open journal.

        Raises:
            OSError, JournalError: there is still no room.
        """
        if self:
            merge_into(file.number, self._journal)
            self.release()
            self._length = 0

    def release(self) -> None:
        """Releases the part, which stays."""
        if self._part is not None:
            self._part.close()
            self._part = None

    def _begin(self, place: Path) -> bool:
        """Starts a part in this directory, if that has room."""
        self.release()
        path = place / _FOLDER / f"{self._journal.stem}.{time.time_ns():020d}{_SUFFIX}"
        try:
            size = self._journal.stat().st_size + self._length
            event = {"journal": os.path.realpath(self._journal), "at": size}
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._part = Descriptor(path)
        except OSError:
            return False
        head = PREAMBLE + event_frame(_EVENT, event)
        if self._append(head):
            self._path = path
            return True
        self.release()  # or later frames would go to the deleted file
        path.unlink(missing_ok=True)
        return False

    def _write(self, frame: bytes) -> bool:
        if not self._append(frame):
            return False
        self._length += len(frame)
        return True

    def _append(self, data: bytes) -> bool:
        # A part was begun before, or there would be none to append to.
        assert self._part is not None
        try:
            self._part.append(data)
        except OSError:
            return False
        return True


def merge(journal: Path) -> None:
    """Appends to a journal what its writer could not; does nothing while it is written.

    Raises:
        OSError: there is still no room.
    """
    if not journal.exists():
        return
    last = segments.segments_of(journal)[-1]  # the only one that may grow
    if last.is_packed or not any(_parts(last.path)):
        return
    try:
        file, _ = opened(last.path)
    except JournalError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        return  # it is being written
    try:
        merge_into(file.number, last.path)
    finally:
        file.close()


def has_parts(journal: Path) -> bool:
    """Returns whether another disk has something that the journal lacks."""
    return any(_parts(journal))


def merge_all(directory: Path) -> None:
    """Merges all journals in a directory, as far as that is possible now."""
    for journal in dict.fromkeys(_waiting(directory)):
        with contextlib.suppress(OSError, JournalError):
            merge(journal)


def merge_into(number: int, journal: Path) -> None:
    """Appends the parts of a journal to the open file, and deletes them.

    Args:
        number: the descriptor of the journal, locked.
        journal: its path.

    Raises:
        OSError: there is still no room.
    """
    for part in _parts(journal):
        begin, at = _head(part)
        with part.open("rb") as source:
            _append_rest(number, at, source, begin)
        part.unlink(missing_ok=True)


def _parts(journal: Path) -> Iterator[Path]:
    """Returns the parts of a journal, in the order in which they were written."""
    parts: list[Path] = []
    for place in private_directories(create=False):
        parts += (place / _FOLDER).glob(f"{journal.stem}.*{_SUFFIX}")
    for part in sorted(parts, key=lambda path: path.name):
        if _journal_of(part) == Path(os.path.realpath(journal)):
            yield part


def _waiting(directory: Path) -> Iterator[Path]:
    """Yields the journals in a directory that have parts."""
    for place in private_directories(create=False):
        for part in (place / _FOLDER).glob(f"*{_SUFFIX}"):
            named = _journal_of(part)
            journal = None if named is None else segments.first_of(named)
            if journal is not None and journal.parent == Path(os.path.realpath(directory)):
                yield journal


def _journal_of(part: Path) -> Path | None:
    event = _event(part)[1]
    named = event.get("journal")
    return Path(named) if isinstance(named, str) else None


def _head(part: Path) -> tuple[int, int]:
    """Returns where the frames of a part begin, and where in the journal the first one belongs."""
    end, event = _event(part)
    at = event.get("at")
    return end, at if isinstance(at, int) else 0


def _event(part: Path) -> tuple[int, dict[str, Any]]:
    """Returns where the first event of a part ends, and the event; 0 and none for a torn part."""
    try:
        for entry in JournalReader(part).entries():
            if entry.event is not None and entry.event["event"] == _EVENT:
                return entry.end, entry.event
            break
    except (JournalError, OSError):
        pass
    return 0, {}


def _append_rest(number: int, at: int, source: Any, begin: int) -> None:
    """Appends what the open file lacks of `source`, all of it or nothing."""
    size = os.fstat(number).st_size
    there = max(size - at, 0)
    known = 0
    while known < there:
        source.seek(begin + known)
        ours = source.read(min(_CHUNK, there - known))
        if not ours or os.pread(number, len(ours), at + known) != ours:
            break
        known += len(ours)
    source.seek(begin + known)
    if known < there and source.read(1):  # something else was written there meanwhile
        known = 0
    source.seek(begin + known)
    try:
        while chunk := source.read(_CHUNK):
            while chunk:
                chunk = chunk[os.write(number, chunk) :]
    except OSError:
        os.ftruncate(number, size)
        raise
