"""Reads one segment of a journal as its writer left it, or while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from lrtrack.journal.corruption import Damage
from lrtrack.journal.events import Entry, understood
from lrtrack.journal.framing import HEAD, MAX_PAYLOAD, PREAMBLE, cut_off, decode
from lrtrack.journal.layout import open_regular
from lrtrack.journal.segments import Segment, is_header

#: Bytes read at once, which bounds memory on long journals. Nearly every frame is far smaller; for
#: a larger one more is read, up to the largest frame. The first time less is read, because a
#: delivery takes only the next few frames.
CHUNK, FIRST = 2**21, 2**18
LARGEST = 2 * MAX_PAYLOAD


def entries(
    segment: Segment, run_id: str, offset: int, damage: Damage, *, grows: bool
) -> Iterator[Entry]:
    """Yields complete entries from byte `offset` of the journal to the segment's end.

    Args:
        segment: the file.
        run_id: the run whose journal it is a part of.
        offset: where to begin, a byte of this segment.
        damage: gets the rest.
        grows: whether the file may be longer by now than its segment says.

    Raises:
        OSError: it cannot be read.
    """
    with open_regular(segment.path) as file:
        at, size = offset, min(FIRST, CHUNK)
        # Everything before is read, or was skipped for a reason.
        sound = max(at, segment.start + len(PREAMBLE))
        while True:
            file.seek(at - segment.start)
            wanted = size if grows else min(size, max(segment.end - at, 0))
            data = file.read(wanted)
            end = at
            for frame in decode(data, at):
                end = frame.end
                entry = understood(frame)
                if frame.start > sound:
                    _passed_over(file, segment, sound, frame.start, entry, damage)
                sound = frame.end
                if entry is None:
                    damage.add(frame.start, frame.end)
                    continue
                damage.remove(frame.start)  # half of it may have been seen before
                if not is_header(entry.event, run_id, segment.start):
                    yield entry
            if len(data) < size:
                _tail(file, segment, sound, at + len(data), damage)
                return
            if end > at:
                at, size = end, min(4 * size, CHUNK)
            elif size < LARGEST:
                size *= 2
            else:  # only damaged bytes: skip half of them
                at, size = at + size // 2, CHUNK


def _passed_over(
    file: BinaryIO, segment: Segment, start: int, end: int, after: Entry | None, damage: Damage
) -> None:
    """Records bytes that are no frame, unless a killed writer left them to a later one."""
    event = after.event if after is not None else None
    resumed = event is not None and event["event"] == "resume"
    if resumed and _cut_off(file, segment, start, end):
        damage.remove(start)
    else:
        damage.add(start, end)


def _tail(file: BinaryIO, segment: Segment, start: int, end: int, damage: Damage) -> None:
    """Records bytes after the last frame, unless they can still become one, or never will."""
    if start < end and not _cut_off(file, segment, start, end):
        damage.add(start, end)
    else:
        damage.remove(start)


def _cut_off(file: BinaryIO, segment: Segment, start: int, end: int) -> bool:
    file.seek(start - segment.start)
    return cut_off(file.read(HEAD), end - start)
