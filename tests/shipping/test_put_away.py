"""Which deliveries of a shipper are closed again, and what becomes of their runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lrtrack.journal.layout import Layout, host
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping import run_queue
from lrtrack.shipping.run_queue import BUSY, LOST

RUN = Run("a" * 32, "r", targets=(Target("memory", experiment="x"),), host=host())
KEY = RUN.id, "memory"


def put_away(
    layout: Layout, queue_of: Any, prepare: Callable[[Any, Any], None], **options: Any
) -> Any:
    """Opens the run, prepares the queue and the delivery, and puts the delivery away."""
    layout.marker(RUN.id).touch()
    writer = JournalWriter(layout.journal(RUN.id), RUN)
    if not options.pop("alive", False):
        writer.close(State.FINISHED)
    queue = queue_of(**options)
    queue.take_up()
    queue.count()
    prepare(queue, queue.deliveries[KEY])
    queue.put_away(KEY, lambda job: job.let_go())
    for job in queue.deliveries.values():
        job.lock.remove()
    writer.release()
    return queue


def lost(queue: Any, job: Any, seconds: float = LOST) -> None:
    """The journal was lost so many seconds ago."""
    job.lost_at = run_queue.time.monotonic() - seconds


@pytest.mark.parametrize(
    ("prepare", "options", "is_closed", "is_left", "postponed"),
    [
        (lambda queue, job: None, {}, False, False, 0),
        (lambda queue, job: setattr(job, "future", object()), {}, False, False, 0),
        (lambda queue, job: setattr(job, "displaced", True), {}, True, False, 1),
        (lambda queue, job: setattr(job, "displaced", True), {"alive": True}, True, False, 1),
        (lambda queue, job: setattr(queue, "yielding", True), {}, True, False, 1),
        (lambda queue, job: setattr(queue, "yielding", True), {"alive": True}, False, False, 0),
        (lambda queue, job: setattr(job, "given_up", True), {}, True, True, 0),
        (lambda queue, job: setattr(job, "given_up", True), {"alive": True}, False, False, 0),
        (lost, {}, True, True, 0),
        (lost, {"only": RUN.id}, False, False, 0),
        (lambda queue, job: lost(queue, job, LOST - 0.1), {}, False, False, 0),
    ],
)
def test_deliveries_that_are_put_away(
    layout: Layout,
    queue_of: Any,
    now: Any,
    prepare: Callable[[Any, Any], None],
    options: dict[str, Any],
    is_closed: bool,
    is_left: bool,
    postponed: int,
) -> None:
    """Refused, lost and displaced deliveries are closed; those under way or in order are not."""
    queue = put_away(layout, queue_of, prepare, **options)
    (place,) = queue.breakers.values()

    assert (queue.deliveries == {}) is is_closed
    assert (queue._left == {RUN.id}) is is_left
    assert queue.postponed == [(RUN.id, BUSY)] * postponed
    assert place.over == int(not is_closed and not options.get("alive", False))
    assert layout.queued() == [RUN.id]


def test_the_last_in_line(layout: Layout, queue_of: Any) -> None:
    """A delivery that makes way for others waits for its server again."""
    queue = put_away(layout, queue_of, lambda queue, job: setattr(job, "last", True))
    (place,) = queue.breakers.values()

    assert (queue.deliveries, list(place.waiting), place.over) == ({}, [RUN.id], 0)
