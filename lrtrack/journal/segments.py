"""The files of one journal, and the order in which they make one sequence of bytes.

A run begins with one file. Where that grows past `LIMIT`, the writer goes on in another one, and so
on, so that what is delivered can be stored in less room while the training goes on:

    <id>.journal                             the first segment: whose journal this is, and its lock
    <id>.segments/<start>.journal            a later one, in the same format
    <id>.segments/<start>-<end>.parquet      one that is delivered, packed: see `packed.py`

`<start>` and `<end>` are byte offsets in the journal as a whole, decimal, of 20 digits. Everything
that names a place in a journal counts in those offsets, so a place stays valid where its segment is
packed. Only the last segment grows. A packed segment replaces the file that it was made from, and
counts where both are there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from lrtrack.journal.events import event_frame, understood
from lrtrack.journal.framing import PREAMBLE, decode
from lrtrack.journal.layout import open_regular

#: Bytes of a segment before the next one begins: most runs never need a second one.
LIMIT = 64 * 2**20
#: The event at the beginning of a later segment.
EVENT = "segment"

_RAW = re.compile(r"([0-9]{20})\.journal")
_PACKED = re.compile(r"([0-9]{20})-([0-9]{20})\.parquet")
#: Bytes that hold the first frame of a later segment.
_HEAD = 4096
#: Looks at a directory in which files are replaced meanwhile.
_LOOKS = 3


@dataclass(frozen=True)
class Segment:
    """A file of a journal.

    Attributes:
        path: where it is.
        start, end: byte offsets in the journal, of its first byte and behind its last one.
        is_packed: whether it is a Parquet file that has replaced the original.
    """

    path: Path
    start: int
    end: int
    is_packed: bool = False

    @property
    def is_first(self) -> bool:
        """Whether it is the file that every journal has."""
        return self.start == 0


def folder_of(journal: Path) -> Path:
    """Returns the directory of a journal's later segments."""
    return journal.with_suffix(".segments")


def first_of(path: Path) -> Path:
    """Returns the first segment of the journal to which the segment at `path` belongs."""
    folder = path.parent
    return folder.with_suffix(".journal") if folder.suffix == ".segments" else path


def raw_path(journal: Path, start: int) -> Path:
    """Returns where the segment that begins at byte `start` of a journal is written."""
    return folder_of(journal) / f"{start:020d}.journal"


def packed_path(journal: Path, start: int, end: int) -> Path:
    """Returns where the segment from byte `start` up to `end` of a journal is, once packed."""
    return folder_of(journal) / f"{start:020d}-{end:020d}.parquet"


def header(journal: Path, start: int) -> bytes:
    """Returns the bytes with which the later segment of a journal at byte `start` begins."""
    return PREAMBLE + event_frame(EVENT, {"run": journal.stem, "at": start}, 0.0)


def is_header(event: object, run_id: str, start: int) -> bool:
    """Returns whether an event begins the segment of this run's journal at byte `start`."""
    if not isinstance(event, dict):
        return False
    return (event.get("event"), event.get("run"), event.get("at")) == (EVENT, run_id, start)


def belongs(segment: Segment, journal: Path) -> bool:
    """Returns whether the file of a segment says that it is this one.

    Raises:
        OSError: it cannot be read.
    """
    if segment.is_first or segment.is_packed:
        return True
    with open_regular(segment.path) as file:
        head = file.read(_HEAD)
    if not head.startswith(PREAMBLE):
        return False
    entry = next(map(understood, decode(head, 0)), None)
    return entry is not None and is_header(entry.event, journal.stem, segment.start)


def segments_of(journal: Path) -> list[Segment]:
    """Returns the segments of a journal in order, without overlaps.

    Raises:
        OSError: its first one is missing, or cannot be read.
    """
    segments = _look(journal)
    for _ in range(_LOOKS - 1):
        if not _has_gap(segments):
            break
        segments = _look(journal)  # one may have been replaced while the directory was read
    return segments


def size_of(journal: Path) -> int:
    """Returns the bytes of a journal as it was written.

    Raises:
        OSError: its first segment is missing, or cannot be read.
    """
    return segments_of(journal)[-1].end


def _look(journal: Path) -> list[Segment]:
    # Before the others: it does not grow once there is another one.
    chain = [Segment(journal, 0, journal.stat().st_size)]
    # A packed segment comes before the file that it replaces.
    for segment in sorted(_later(journal), key=lambda each: (each.start, not each.is_packed)):
        before = chain[-1]
        if segment.start <= before.start or (before.is_packed and segment.end <= before.end):
            continue
        if before.is_first and before.end < segment.start:
            before = replace(before, end=journal.stat().st_size)
        chain[-1] = replace(before, end=min(before.end, segment.start))
        chain.append(segment)
    return chain


def _has_gap(segments: list[Segment]) -> bool:
    return any(before.end < after.start for before, after in pairwise(segments))


def _later(journal: Path) -> Iterator[Segment]:
    """Yields all segments but the first, in any order."""
    folder = folder_of(journal)
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):  # a link may lead anywhere
            return
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            path = folder / entry.name
            if packed := _PACKED.fullmatch(entry.name):
                start, end = map(int, packed.groups())
                if start < end:
                    yield Segment(path, start, end, is_packed=True)
            elif raw := _RAW.fullmatch(entry.name):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # packed meanwhile
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield Segment(path, int(raw[1]), int(raw[1]) + status.st_size)
