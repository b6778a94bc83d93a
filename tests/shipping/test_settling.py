"""A run leaves the queue once it is fully delivered, unless a process has resumed it."""

from __future__ import annotations

from pathlib import Path

from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.process import Shipper
from lrtrack.trackers.memory import MemoryTracker

RUN = "0" * 32


class Resuming(Layout):
    """A journal directory in which a process resumes the run while a shipper settles it."""

    writer: JournalWriter | None = None

    def marker(self, run_id: str) -> Path:
        """The marker, after the run has been resumed in the moment before it is taken away."""
        path = super().marker(run_id)
        if vars(self).get("settling") and self.writer is None:
            object.__setattr__(self, "writer", JournalWriter(self.journal(run_id), self.run))
            path.touch()
        return path


def delivered(layout: Layout, tracker: MemoryTracker) -> Run:
    """A finished run of which all is delivered."""
    layout.create()
    run = Run(RUN, "r", targets=(Target("memory"),))
    JournalWriter(layout.journal(run.id), run).close(State.FINISHED)
    layout.marker(run.id).touch()
    Shipper(layout, lambda name: tracker, idle=0.0).run()
    return run


def test_a_run_that_is_over_leaves_the_queue(clean_place: Path) -> None:
    """Nothing of a finished run is left to deliver."""
    layout = Layout(clean_place / ".lrtrack")
    delivered(layout, MemoryTracker())

    assert layout.queued() == []


def test_a_run_resumed_as_it_leaves_the_queue_stays(clean_place: Path) -> None:
    """A run that is resumed just as it leaves the queue is queued again and delivered."""
    tracker = MemoryTracker()
    layout = Resuming(clean_place / ".lrtrack")
    run = delivered(layout, tracker)
    vars(layout).update(run=run, settling=True)
    Shipper(layout, lambda name: tracker, idle=0.0)._queue.settle(run.id)
    assert layout.writer is not None
    layout.writer.close(State.FINISHED)

    assert layout.queued() == [RUN]


def test_a_run_whose_journal_is_deleted_leaves_the_queue(clean_place: Path) -> None:
    """A delivered run whose journal is deleted leaves the queue without affecting other runs."""
    tracker = MemoryTracker()
    layout = Layout(clean_place / ".lrtrack")
    run = delivered(layout, tracker)
    layout.marker(run.id).touch()
    layout.journal(run.id).unlink()
    Shipper(layout, lambda name: tracker, idle=0.0)._queue.settle(run.id)

    assert layout.queued() == []
