"""One delivery, attempt by attempt: what its sink is told, and what its cursor says afterwards."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lrtrack.errors import DiskTrouble, SinkLost, TrackerError, TrackerUnavailable
from lrtrack.journal import overflow
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Rewind, Run, State, StepRecord, Target
from lrtrack.shipping import temporary
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivery import WELL, Delivery
from lrtrack.trackers.base import Remote
from lrtrack.trackers.memory import MemorySink, MemoryTracker

RUN = Run("a" * 32, "r", targets=(Target("memory", experiment="x"),))


class Told(MemoryTracker):
    """A tracker that notes what its sinks are told.

    Attributes:
        calls: `open`, and the steps of each write with its doubt, in order.
        errors: raised by the next writes, one each; None: none.
        durable: whether the sinks keep what they accept.
        remote: what `open` returns in place of the truth.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.errors: list[Exception | None] = []
        self.durable, self.loses, self.remote = True, False, {}
        vars(self).update(attributes)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> MemorySink:
        return ToldSink(self, run, target)


class ToldSink(MemorySink):
    """The sink of `Told`."""

    def __init__(self, tracker: Any, run: Run, target: Target) -> None:
        super().__init__(tracker, run, target)
        self.told, self.durable, self.temporary = tracker, tracker.durable, None
        self.released = False

    def open(self) -> Remote:
        self.told.calls.append("open")
        self.durable = self.durable and not self.told.loses
        return replace(super().open(), **self.told.remote)

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        self.told.calls.append(([record.step for record in records], doubt))
        error = self.told.errors.pop(0) if self.told.errors else None
        if error is not None:
            raise error
        super().write(records, doubt)

    def release(self) -> None:
        self.released = True


def written(layout: Layout, *steps: int, run: Run = RUN) -> JournalWriter:
    """Adds steps to the journal of a running run."""
    writer = JournalWriter(layout.journal(run.id), run)
    for step in steps:
        writer.append(step, 10.0 + step, {"loss": 1.0})
    writer.flush()
    return writer


def delivery(layout: Layout, tracker: Any, target: Target = RUN.targets[0]) -> Delivery:
    """The delivery of the run."""
    return Delivery(layout, RUN.id, target, tracker)


def test_a_run_while_it_goes_on_and_when_it_ends(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are sent once; an attempt without news sends nothing, and the end closes the run."""
    merged: list[Path] = []
    monkeypatch.setattr(overflow, "merge", merged.append)
    tracker = Told()
    writer = written(layout, 0, 1)
    one = delivery(layout, tracker)
    assert [one.advance(), one.advance()] == [False, False]
    assert (tracker.calls, merged) == (["open", ([0], False)], [])
    writer.close(State.FINISHED)
    assert not one.advance()
    assert (tracker.calls[2:], merged) == ([([1], False)], [layout.journal(RUN.id)])
    assert one.complete
    assert one.cursor == Cursor(
        offset=layout.journal(RUN.id).stat().st_size, remote_id=RUN.id, closed=True, first=0
    )
    assert Cursor.load(layout.cursor(RUN.id, "memory")) == one.cursor
    assert not one.advance()
    assert len(tracker.calls) == 3


def test_a_run_that_is_resumed_is_opened_again(layout: Layout) -> None:
    """A closed run whose journal has grown is opened once more, and only gets what is new."""
    tracker = Told()
    written(layout, 0).close(State.FINISHED)
    one = delivery(layout, tracker)
    one.advance()
    written(layout, 1).close(State.FINISHED)
    assert not one.complete
    one.advance()

    assert tracker.calls == ["open", ([0], False), "open", ([1], False)]
    assert one.complete


def test_a_sink_that_lost_everything(layout: Layout) -> None:
    """After `SinkLost`, the run is opened again and sent from its beginning, in doubt."""
    tracker = Told(errors=[None, SinkLost("gone")])
    writer = written(layout, 0, 1)
    one = delivery(layout, tracker)
    one.advance()
    writer.close(State.FINISHED)
    with pytest.raises(SinkLost):
        one.advance()
    size = layout.journal(RUN.id).stat().st_size
    assert (one.cursor.offset, one.cursor.doubt, one.cursor.doubtful) == (0, True, size)
    one.advance()

    assert tracker.calls == ["open", ([0], False), ([1], False), "open", ([0, 1], True)]


def test_a_process_that_holds_what_was_delivered_is_gone(layout: Layout) -> None:
    """A sink that keeps nothing gets all of a run again from a new process, until it is closed."""
    tracker = Told(durable=False)
    writer = written(layout, 0, 1, 2)
    one = delivery(layout, tracker)
    one.advance()
    assert one.cursor.offset > 0
    again = delivery(layout, tracker)
    assert (again.cursor.offset, again.cursor.doubt) == (0, True)
    writer.close(State.FINISHED)
    while again.advance():
        pass

    assert tracker.calls == ["open", ([0, 1], False), "open", ([0, 1, 2], True)]
    assert delivery(layout, tracker).complete


def test_a_sink_that_turns_out_to_keep_nothing(layout: Layout) -> None:
    """If opening shows that what was delivered is gone, it is sent again."""
    tracker = Told()
    writer = written(layout, 0, 1)
    delivery(layout, tracker).advance()
    tracker.loses = True
    writer.close(State.FINISHED)
    delivery(layout, tracker).advance()

    assert tracker.calls == ["open", ([0], False), "open", ([0, 1], True)]


@pytest.mark.parametrize(
    ("fresh", "remote_id", "doubt"),
    [(True, None, False), (False, None, True), (False, RUN.id, False), (True, RUN.id, False)],
)
def test_a_run_that_exists_unexpectedly(
    layout: Layout, fresh: bool, remote_id: str | None, doubt: bool
) -> None:
    """Only a run that no cursor knows, and that exists, may have the rows already."""
    tracker = Told(remote={"fresh": fresh})
    Cursor(remote_id=remote_id).save(layout.cursor(RUN.id, "memory"))
    written(layout, 0).close(State.FINISHED)
    delivery(layout, tracker).advance()

    assert tracker.calls == ["open", ([0], doubt)]


@pytest.mark.parametrize(
    ("steps", "first", "stored"),
    [([0, 1], 0, [0, 1]), ([0, 1], 5, [5, 6]), ([3, 4], 5, [3, 4])],
)
def test_the_first_step_of_a_block(
    layout: Layout, steps: list[int], first: int, stored: list[int]
) -> None:
    """A block that counts from 0 continues the run's steps; one that begins later does not."""
    tracker = Told()
    written(layout, *steps).close(State.FINISHED)
    one = delivery(layout, tracker, replace(RUN.targets[0], first=first))
    one.advance()

    assert list(tracker.stored[RUN.id].steps) == stored
    assert one.cursor.first == first


def test_the_first_step_that_the_tracker_says(layout: Layout) -> None:
    """What the tracker knows of the place in its run counts before what the journal says."""
    tracker = Told(remote={"first": 7})
    written(layout, 0).close(State.FINISHED)
    delivery(layout, tracker, replace(RUN.targets[0], first=5)).advance()

    assert list(tracker.stored[RUN.id].steps) == [7]


def test_a_return_to_an_earlier_step(layout: Layout) -> None:
    """The tracker abandons the steps, and later records are no earlier than the return."""
    tracker = Told()
    writer = written(layout, 0, 1, 2)
    writer.rewind(Rewind(1, 2, 99.0))
    writer.append(1, 50.0, {"loss": 2.0})
    writer.close(State.FINISHED)
    one = delivery(layout, tracker)
    while one.advance():
        pass

    assert tracker.calls == ["open", ([0], False), ([1], False)]
    assert tracker.stored[RUN.id].steps[1] == StepRecord(1, 99.0, {"loss": 2.0})
    assert one.cursor.floor == 99.0


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "full"), DiskTrouble),
        (OSError(errno.EIO, "broken"), OSError),
        (TrackerUnavailable("away"), TrackerUnavailable),
    ],
)
def test_a_write_that_fails(layout: Layout, error: Exception, raised: type[Exception]) -> None:
    """The same rows are sent again, in doubt; only errors of a full disk are told as passing."""
    tracker = Told(errors=[error])
    written(layout, 0).close(State.FINISHED)
    one = delivery(layout, tracker)
    with pytest.raises(raised) as caught:
        one.advance()
    assert type(caught.value) is raised
    assert (one.cursor.offset, one.cursor.doubt) == (0, True)
    one.advance()

    assert tracker.calls == ["open", ([0], False), ([0], True)]


def test_why_a_delivery_is_stuck_is_stored(layout: Layout) -> None:
    """Failures are counted with their reason and fix, until an attempt succeeds."""
    tracker = Told()
    written(layout, 0).close(State.FINISHED)
    one = delivery(layout, tracker)
    one.note(TrackerUnavailable("away"), final=False)
    one.note(TrackerError("no", "log in"), final=True)
    stored = Cursor.load(layout.cursor(RUN.id, "memory"))
    one.advance()

    assert stored == Cursor(error="no", refused="log in", given_up=True, failures=2)
    assert {name: vars(one.cursor)[name] for name in WELL} == WELL


def test_a_tracker_that_takes_no_deliveries(layout: Layout) -> None:
    """Without a sink nothing is needed, released or opened."""
    tracker = Told()
    tracker.sink = lambda *_: None  # type: ignore[assignment,method-assign]
    written(layout, 0).close(State.FINISHED)
    one = delivery(layout, tracker)
    one.release()

    assert not one.needed
    with pytest.raises(TrackerError, match="'memory' takes no deliveries"):
        one.advance()


def test_what_a_sink_is_given(layout: Layout) -> None:
    """A sink has a place for temporary files, and is released."""
    written(layout, 0).close(State.FINISHED)
    one = delivery(layout, Told())
    sink: Any = one._sink
    one.release()

    assert one.needed
    assert (sink.temporary, sink.released) == (temporary.path_of(layout), True)


def test_a_cursor_beyond_its_journal(layout: Layout) -> None:
    """A cursor at a place where no record begins starts over; its doubt ends with the journal."""
    written(layout, 0).close(State.FINISHED)
    size = layout.journal(RUN.id).stat().st_size
    Cursor(offset=size + 1, doubtful=9 * size).save(layout.cursor(RUN.id, "memory"))
    one = delivery(layout, Told())

    assert (one.cursor.offset, one.cursor.doubt, one.cursor.doubtful) == (0, True, size)
