"""Deliveries whose cursor is deleted or cannot be written: nothing is sent twice or dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, StepRecord, Target
from lrtrack.shipping.batch import BATCH
from lrtrack.shipping.delivery import Delivery
from lrtrack.shipping.process import Shipper
from lrtrack.trackers.memory import MemorySink, MemoryTracker

STEPS = 3 * BATCH + BATCH // 2


class Appending(MemoryTracker):
    """A tracker that stores duplicates, and checks for stored rows only if asked to."""

    portable = True

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[int] = []

    def sink(self, run: Run, target: Target, remote_id: str | None) -> MemorySink:
        return AppendingSink(self, run, target)


class AppendingSink(MemorySink):
    """The sink of the appending tracker."""

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        assert isinstance(self._tracker, Appending)
        steps = [record.step for record in records]
        there = set(self._tracker.kept) if doubt else set()
        self._tracker.kept += [step for step in steps if step not in there]


@pytest.fixture
def tracker() -> Appending:
    """An empty tracker."""
    return Appending()


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """A journal directory."""
    found = Layout(clean_place / ".lrtrack")
    found.create()
    return found


@pytest.fixture
def run(layout: Layout) -> Run:
    """A finished run of several batches, in the queue."""
    found = Run("0" * 32, "r", targets=(Target("memory", experiment="x"),))
    writer = JournalWriter(layout.journal(found.id), found)
    for step in range(STEPS):
        writer.append(step, float(step), {"loss": 1.0})
        if step % 100 == 0:
            writer.flush()
    writer.close(State.FINISHED)
    layout.marker(found.id).touch()
    return found


@pytest.mark.parametrize("content", [None, b"", b'{"offset": '])
@pytest.mark.parametrize("batches", [1, 2, 4])
def test_a_cursor_that_is_lost(
    layout: Layout, run: Run, tracker: Appending, batches: int, content: bytes | None
) -> None:
    """After a lost cursor, each batch that may be stored is checked, also by later shippers."""

    def delivery() -> Delivery:
        return Delivery(layout, run.id, run.targets[0], tracker)

    first = delivery()
    for _ in range(batches):
        first.advance()
    cursor = layout.cursor(run.id, "memory")
    cursor.unlink()
    if content is not None:
        cursor.write_bytes(content)
    second = delivery()
    second.advance()
    second.advance()
    third = delivery()
    while third.advance():
        pass

    assert tracker.kept == list(range(STEPS))
    assert tracker.stored[run.id].state is State.FINISHED


def test_a_run_that_is_new_is_not_asked_about(
    layout: Layout, run: Run, tracker: Appending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newly created run is sent without checks for stored rows."""
    doubts = []
    write = AppendingSink.write

    def watched(self: Any, records: Sequence[StepRecord], doubt: bool) -> None:
        doubts.append(doubt)
        write(self, records, doubt)

    monkeypatch.setattr(AppendingSink, "write", watched)
    Shipper(layout, lambda name: tracker, idle=0.0).run()

    assert doubts == [False] * 4
    assert tracker.kept == list(range(STEPS))


def test_a_cursor_that_cannot_be_written(
    layout: Layout, run: Run, tracker: Appending, within_seconds: Callable[..., None]
) -> None:
    """Nothing is sent while the cursor cannot be written; the same shipper continues afterwards."""
    cursor = layout.cursor(run.id, "memory")
    cursor.mkdir()
    said: list[str] = []
    shipper = Shipper(layout, lambda name: tracker, idle=600, log=said.append)
    thread = threading.Thread(target=shipper.run, name="shipper")
    thread.start()
    try:
        within_seconds(10, lambda: len(said) > 1)
        time.sleep(0.5)
        before = list(tracker.kept)
        cursor.rmdir()
        within_seconds(30, lambda: layout.queued() == [])
    finally:
        shipper.stop()
        thread.join()

    assert before == []
    assert tracker.kept == list(range(STEPS))
    assert all("cannot write to" in line and "next attempt" in line for line in said)
