"""A journal in many segments, packed as they are delivered, is the journal that was written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from lrtrack.journal import packing, segments
from lrtrack.journal.reader import JournalReader
from lrtrack.records import State
from lrtrack.shipping import batch, delivered_segments
from tests.faults.test_journal_machine import JournalMachine, Killed

#: Bytes of a segment: a few frames.
SEGMENT = 1500


@contextmanager
def dying(point: str) -> Iterator[None]:
    """Kills the shipper before it packs a segment, while it writes, or before it removes one."""

    def die(*_: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        if point == "before":
            patch.setattr(delivered_segments, "pack", die)
        elif point == "writing":
            patch.setattr(packing.os, "fsync", die)
        else:
            patch.setattr(packing, "_settle", die)
        yield


class SegmentMachine(JournalMachine):
    """The machine of a journal in one file, and deaths on the way to a packed segment."""

    @rule(count=st.integers(1, 4))
    def train_long(self, count: int) -> None:
        """Fills a segment."""
        if self.writer is not None:
            for _ in range(count):
                self.train(9, flushed=True)

    @rule(point=st.sampled_from(["before", "writing", "named"]), batches=st.integers(1, 12))
    def ship_and_die_while_packing(self, point: str, batches: int) -> None:
        """Delivers until a segment is packed, and dies there."""
        with dying(point):
            for _ in range(batches):
                self._ship(None)
                if self.delivery is None:
                    return

    @rule()
    def look(self) -> None:
        """All entries follow each other, and a cursor may be at the borders of each."""
        reader = JournalReader(self.path)
        at = 0
        for entry in reader.entries():
            assert at <= entry.start < entry.end
            assert reader.stands(entry.start, 0)
            assert reader.stands(entry.end, 0)
            at = entry.end
        assert not reader.damage

    def teardown(self) -> None:
        """In the end nothing is there twice: neither in the tracker nor on the disk."""
        if self.writer is not None:
            self.writer.close(State.FINISHED)
            self.writer, self.ended = None, True
            self._settle()
        self.delivery = None
        super().teardown()

    def _compare(self) -> None:
        super()._compare()
        chain = segments.segments_of(self.path)
        assert all(segment.is_packed for segment in chain[1:-1])
        folder = segments.folder_of(self.path)
        files = {path.name for path in folder.iterdir()} if folder.exists() else set()
        assert files == {segment.path.name for segment in chain[1:]}


def test_any_order_of_events_with_segments(repeats, monkeypatch) -> None:
    """Whoever dies while segments fill and are packed, nothing is lost, twice or left behind."""
    monkeypatch.setattr(batch, "BATCH", 4)
    monkeypatch.setattr(segments, "LIMIT", SEGMENT)
    chosen = settings(
        max_examples=repeats(15, 2000),
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=repeats(1, 0) == 1,
        database=None,
    )
    run_state_machine_as_test(SegmentMachine, settings=chosen)
