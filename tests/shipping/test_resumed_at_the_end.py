"""A run that another process resumes while its end is delivered."""

from __future__ import annotations

from typing import Any

import pytest

from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.delivery import Delivery
from lrtrack.trackers.memory import MemorySink, MemoryTracker

RUN = Run("a" * 32, "r", targets=(Target("memory", experiment="x"),))


def add(layout: Layout, *steps: int) -> None:
    """A process that makes some steps of the run, and ends."""
    writer = JournalWriter(layout.journal(RUN.id), RUN)
    for step in steps:
        writer.append(step, 10.0 + step, {"loss": 1.0})
    writer.close(State.FINISHED)


@pytest.mark.parametrize("torn", [b"", b"\x89"], ids=["whole", "torn"])
def test_steps_of_the_next_process_are_delivered(layout: Layout, torn: bytes) -> None:
    """What is written between the last read and the stored end is sent by the next attempt."""
    sent: list[list[int]] = []

    class Sink(MemorySink):
        def write(self, records: Any, doubt: bool) -> None:
            sent.append([record.step for record in records])
            super().write(records, doubt)

        def close(self, *end: Any) -> None:
            super().close(*end)
            if len(sent) == 1:
                add(layout, 2, 3)

    class Tracker(MemoryTracker):
        def sink(self, run: Run, target: Target, remote_id: str | None) -> MemorySink:
            return Sink(self, run, target)

    add(layout, 0, 1)
    with layout.journal(RUN.id).open("ab") as journal:
        journal.write(torn)  # as a writer that was killed leaves it
    delivery = Delivery(layout, RUN.id, RUN.targets[0], Tracker())

    assert (delivery.advance(), delivery.complete) == (False, False)
    assert (delivery.advance(), delivery.complete) == (False, True)
    assert sent == [[0, 1], [2, 3]]
