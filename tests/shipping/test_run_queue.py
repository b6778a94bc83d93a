"""Which runs of the queue a shipper opens, leaves to others, or takes off."""

from __future__ import annotations

import errno
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lrtrack.errors import TrackerError
from lrtrack.journal.layout import Layout, host
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping import run_queue
from lrtrack.shipping.circuit_breaker import AT_HAND
from lrtrack.shipping.credentials import key_of
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivery import Delivery
from lrtrack.shipping.lock import Lock
from lrtrack.shipping.run_queue import BUSY, BUSY_ENOUGH, ENOUGH, RunQueue
from lrtrack.trackers.memory import MemoryTracker

RUN = Run("a" * 32, "r", targets=(Target("memory", experiment="x"),), host=host())
KEY = RUN.id, "memory"


def written(layout: Layout, run: Run = RUN) -> JournalWriter:
    """Queues a running run."""
    layout.marker(run.id).touch()
    return JournalWriter(layout.journal(run.id), run)


def opened(queue: RunQueue) -> list[tuple[str, str]]:
    """Looks at the queue once; returns the open deliveries."""
    queue.take_up()
    return list(queue.deliveries)


def test_a_run_is_opened_with_its_lock(layout: Layout, queue_of: Any) -> None:
    """An open delivery has its lock, and counts at its server if the run is over."""
    written(layout).close(State.FINISHED)
    queue = queue_of()
    found = opened(queue)
    (place,) = queue.breakers.values()
    busy = not Lock(layout.delivery_lock(*KEY)).acquire()
    queue.deliveries[KEY].lock.remove()

    assert (found, busy, place.over) == ([KEY], True, 1)
    assert queue._owed == {RUN.id: {"memory"}}
    assert layout.queued() == [RUN.id]


def test_a_run_that_is_delivered_is_not_opened(layout: Layout, queue_of: Any) -> None:
    """A run of which all is delivered leaves the queue at once, without its lock."""
    written(layout).close(State.FINISHED)
    delivery = Delivery(layout, RUN.id, RUN.targets[0], MemoryTracker())
    while delivery.advance():
        pass

    assert opened(queue_of()) == []
    assert (layout.queued(), layout.delivery_lock(*KEY).exists()) == ([], False)


@pytest.mark.parametrize("delivers", [True, False])
def test_a_running_run_that_no_tracker_needs(layout: Layout, queue_of: Any, delivers: bool) -> None:
    """It is queued again if a tracker will need more of it, even if its marker was missing."""
    writer = written(layout)
    tracker: Any = SimpleNamespace(name="memory", sink=lambda *_: None)
    queue = queue_of(tracker)
    if delivers:
        layout.marker(RUN.id).unlink()
        queue.settle(RUN.id, delivers=True)
    else:
        opened(queue)
    writer.release()

    assert layout.queued() == ([RUN.id] if delivers else [])


@pytest.mark.parametrize("once", [True, False])
def test_a_run_that_another_process_delivers(
    layout: Layout, queue_of: Any, now: Any, once: bool
) -> None:
    """It is looked at again each half second; a sync leaves it after a minute."""
    written(layout).close(State.FINISHED)
    lock = Lock(layout.delivery_lock(*KEY))
    lock.acquire()
    queue = queue_of(once=once)
    assert opened(queue) == []
    assert (queue.postponed, queue.expecting) == ([(RUN.id, BUSY)], True)
    now.at += BUSY_ENOUGH
    queue._take(RUN.id)
    assert (len(queue.postponed), queue.expecting, queue.said) == (2, False, [])
    now.at += 0.1
    queue._take(RUN.id)
    lock.remove()

    left = f"{RUN.id}: left to another process, which is delivering it"
    assert (len(queue.postponed), queue.said) == ((2, [left]) if once else (3, []))
    assert queue._left == ({RUN.id} if once else set())
    assert layout.queued() == [RUN.id]
    queue._take(RUN.id)
    assert (list(queue.deliveries), queue._busy) == ([KEY], {})
    queue.deliveries[KEY].lock.remove()


@pytest.mark.parametrize(
    ("number", "is_left"), [(errno.ENOSPC, False), (errno.EACCES, True), (errno.EISDIR, True)]
)
def test_a_lock_that_cannot_be_made(
    layout: Layout, queue_of: Any, monkeypatch: pytest.MonkeyPatch, number: int, is_left: bool
) -> None:
    """A full disk is waited for; any other reason is stored, and the run is left."""

    def fail(self: Lock, patience: float) -> bool:
        raise OSError(number, "no lock")

    written(layout).close(State.FINISHED)
    monkeypatch.setattr(Lock, "acquire", fail)
    queue = queue_of()

    assert opened(queue) == []
    assert queue.postponed == ([] if is_left else [(RUN.id, BUSY)])
    assert queue._left == ({RUN.id} if is_left else set())
    assert Cursor.load(layout.cursor(*KEY)).given_up is is_left
    assert layout.queued() == [RUN.id]


def test_a_run_that_may_not_be_delivered_from_here(layout: Layout, queue_of: Any) -> None:
    """A run whose credentials are missing stays queued, unlocked and without an error."""
    written(layout).close(State.FINISHED)
    queue = queue_of(admit=lambda *_: None)

    assert opened(queue) == []
    assert (layout.queued(), queue._owed) == ([RUN.id], {RUN.id: {"memory"}})
    assert (layout.delivery_lock(*KEY).exists(), queue.said) == (False, [])


@pytest.mark.parametrize("error", [TrackerError("not installed"), OSError("no store")])
def test_a_tracker_that_cannot_begin(layout: Layout, queue_of: Any, error: Exception) -> None:
    """Why a delivery cannot begin is stored for the user, and its lock is free again."""

    def refuse(*_: Any) -> None:
        raise error

    written(layout).close(State.FINISHED)
    tracker: Any = SimpleNamespace(name="memory", sink=refuse)
    Cursor(failures=4, refused="old advice").save(layout.cursor(*KEY))
    queue = queue_of(tracker)
    found = opened(queue)
    cursor = Cursor.load(layout.cursor(*KEY))

    assert (found, queue._left, layout.queued()) == ([], {RUN.id}, [RUN.id])
    assert (cursor.error, cursor.refused, cursor.failures) == (str(error), None, 5)
    assert (cursor.given_up, layout.delivery_lock(*KEY).exists()) == (True, False)
    assert queue.said == [f"{RUN.id}: not to memory: {error}"]


@pytest.mark.parametrize(
    ("machine", "key", "alive", "is_opened"),
    [
        (host(), key_of({}), True, True),
        (host(), "other", True, False),
        ("", key_of({}), True, True),
        ("", "other", True, False),
        ("elsewhere", key_of({}), True, False),
        ("elsewhere", "other", False, False),
        ("elsewhere", None, False, True),
    ],
)
def test_whose_run_it_is(
    layout: Layout, queue_of: Any, machine: str, key: str | None, alive: bool, is_opened: bool
) -> None:
    """A shipper serves the runs of its machine and credentials; without a key, any."""
    writer = written(layout, replace(RUN, host=machine))
    if not alive:
        writer.close(State.FINISHED)
    queue = queue_of(key=key)
    found = opened(queue)
    writer.release()
    for job in queue.deliveries.values():
        job.lock.remove()

    assert (found == [KEY]) is is_opened


@pytest.mark.parametrize(
    ("options", "alive", "is_opened"),
    [
        ({"once": True}, True, False),
        ({"once": True}, False, True),
        ({"only": RUN.id}, True, True),
        ({}, True, True),
        ({"yielding": True}, False, False),
        ({"yielding": True}, True, True),
    ],
)
def test_running_runs_and_finished_ones(
    layout: Layout, queue_of: Any, options: dict[str, Any], alive: bool, is_opened: bool
) -> None:
    """A sync takes no running run, and a shipper no finished one while a sync works."""
    writer = written(layout)
    if not alive:
        writer.close(State.FINISHED)
    yielding = options.pop("yielding", False)
    queue = queue_of(**options)
    queue.yielding = yielding
    found = opened(queue)
    writer.release()
    for job in queue.deliveries.values():
        job.lock.remove()

    assert (found == [KEY]) is is_opened
    assert queue.postponed == ([(RUN.id, BUSY)] if yielding and not alive else [])


def test_room_at_a_server(layout: Layout, queue_of: Any) -> None:
    """A finished run waits while 32 others are open; a running one does not."""
    written(layout).close(State.FINISHED)
    running = replace(RUN, id="b" * 32)
    writer = written(layout, running)
    queue = queue_of()
    place = queue.breakers.setdefault(("memory", None), run_queue.CircuitBreaker())
    place.over = AT_HAND
    assert opened(queue) == [(running.id, "memory")]
    assert (list(place.waiting), queue.waiting, place.over) == ([RUN.id], False, AT_HAND)
    place.over -= 1
    assert queue.waiting
    opened(queue)
    writer.release()
    for job in queue.deliveries.values():
        job.lock.remove()

    assert (list(queue.deliveries), list(place.waiting)) == ([(running.id, "memory"), KEY], [])


@pytest.mark.parametrize(("once", "failures"), [(True, ENOUGH - 1), (True, ENOUGH), (False, 99)])
def test_a_sync_leaves_a_dead_server(
    layout: Layout, queue_of: Any, once: bool, failures: int
) -> None:
    """After 16 failures in a row, those that wait for the server are not tried."""
    queue = queue_of(once=once)
    place = queue.breakers.setdefault(("memory", None), run_queue.CircuitBreaker())
    place.waiting, place.unanswered = {"c" * 32: None}, failures
    taken: list[str] = []
    queue._take = taken.append  # type: ignore[method-assign]
    queue.take_up()

    assert taken == ([] if once and failures == ENOUGH else ["c" * 32])
