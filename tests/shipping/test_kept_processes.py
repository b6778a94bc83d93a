"""A tracker that keeps processes for later runs ends them when deliveries end."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.process import Shipper
from lrtrack.trackers.memory import MemoryTracker


class Keeping(MemoryTracker):
    """A tracker that counts how often it is asked to end its processes."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.asked = 0
        self._error = error

    def end_processes(self) -> None:
        """Count the call, and fail if the test says so."""
        self.asked += 1
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, ValueError("a bug of the tracker's")])
def test_processes_end_with_the_deliveries(clean_place: Path, error: Exception | None) -> None:
    """A tracker is asked once, after all runs; an error of its own breaks nothing."""
    tracker, layout = Keeping(error), Layout(clean_place / ".lrtrack")
    layout.create()
    for number in range(2):
        run = Run(f"{number:032x}", "r", targets=(Target("memory"),))
        JournalWriter(layout.journal(run.id), run).close(State.FINISHED)
        layout.marker(run.id).touch()
    Shipper(layout, lambda name: tracker, idle=0.0).run()

    assert (layout.queued(), tracker.asked) == ([], 1)
