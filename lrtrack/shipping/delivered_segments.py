"""Packs what all trackers have of a long journal, so that it takes less room on the disk."""

from __future__ import annotations

import contextlib
import time

from lrtrack.journal.layout import Layout
from lrtrack.journal.packing import pack
from lrtrack.journal.segments import Segment, raw_path, segments_of
from lrtrack.records import Run
from lrtrack.shipping.cursor import Cursor

#: Seconds until a segment is tried again that could not be packed, as on a full disk.
PAUSE = 60.0


class DeliveredSegments:
    """The full segments of one run's journal, while the run is delivered.

    Args:
        layout: the journal directory.
        run: the run.
    """

    def __init__(self, layout: Layout, run: Run) -> None:
        self._journal = layout.journal(run.id)
        self._cursors = [
            layout.cursor(run.id, target.tracker) for target in run.targets if target.delivers
        ]
        self._kept: set[int] = set()
        self._not_before = 0.0
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Removes segments whose packed file was complete when a process was killed."""
        with contextlib.suppress(OSError):
            for segment in segments_of(self._journal):
                if segment.is_packed:
                    raw_path(self._journal, segment.start).unlink(missing_ok=True)

    def pack(self, offset: int) -> None:
        """Packs the segments that every tracker has; never raises for a disk that refuses.

        Args:
            offset: how far the journal is delivered to one of the trackers, in bytes.
        """
        try:
            full = [segment for segment in self._full() if segment.end <= offset]
            if not full or time.monotonic() < self._not_before:
                return
            delivered = min([offset, *(Cursor.load(path).offset for path in self._cursors)])
            for segment in full:
                if segment.end <= delivered and not pack(segment, self._journal):
                    self._kept.add(segment.start)
        except OSError:
            self._not_before = time.monotonic() + PAUSE

    def _full(self) -> list[Segment]:
        # The first one says whose journal it is, and the last one may grow.
        return [
            segment
            for segment in segments_of(self._journal)[1:-1]
            if not segment.is_packed and segment.start not in self._kept
        ]
