"""The queue on disk: in which order, how much at once, and how long a missing journal may come."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.layout import Layout
from lrtrack.shipping import queue_directory
from lrtrack.shipping.queue_directory import AGAIN, COMING, REST, QueueDirectory

ONE, TWO, THREE = (digit * 32 for digit in "123")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock at 0, of which each reading takes `takes` seconds; its date is `date`."""
    clock = SimpleNamespace(at=0.0, takes=0.0, date=5000.0)

    def monotonic() -> float:
        clock.at += clock.takes
        return float(clock.at)

    clock.monotonic, clock.time = monotonic, lambda: clock.date
    monkeypatch.setattr(queue_directory, "time", clock)
    return clock


def mark(layout: Layout, run_id: str, when: float) -> None:
    """Queues a run at a date."""
    layout.marker(run_id).touch()
    os.utime(layout.marker(run_id), (when, when))


def test_the_newest_run_first(layout: Layout, clock: Any) -> None:
    """Runs are taken once, the newest first, and again if they are queued again."""
    for when, run_id in enumerate([TWO, ONE, THREE], start=1):
        mark(layout, run_id, when)
    queue = QueueDirectory(layout)
    assert not queue
    queue.look()
    assert queue
    assert list(queue.take()) == [THREE, ONE, TWO]
    queue.look()
    assert list(queue.take()) == []
    mark(layout, TWO, 9.0)
    queue.look()
    assert list(queue.take()) == [TWO]


def test_the_only_run(layout: Layout, clock: Any) -> None:
    """A queue of one run yields it once, whether it is queued or not, and no other."""
    mark(layout, TWO, 1.0)
    queue = QueueDirectory(layout, only=ONE)
    for expected in ([ONE], []):
        queue.look()
        assert list(queue.take()) == expected


def test_runs_that_are_checked_again_come_last(layout: Layout, clock: Any) -> None:
    """Runs that were left are checked after those that wait for the first time."""
    mark(layout, ONE, 1.0)
    queue = QueueDirectory(layout)
    queue.look()
    queue.again({TWO, ONE})

    assert list(queue.take()) == [ONE, TWO]


def test_a_run_that_is_put_off(layout: Layout, clock: Any) -> None:
    """It comes back after its pause, and once."""
    queue = QueueDirectory(layout)
    queue.later(ONE, 3.0)
    found = []
    for clock.at in (2.9, 3.0, 3.1):
        queue.look()
        found.append(list(queue.take()))

    assert found == [[], [ONE], []]


def test_a_check_takes_a_slice_of_the_time(layout: Layout, clock: Any) -> None:
    """One check opens runs for a twentieth of a second, and the next one goes on."""
    for when, run_id in enumerate([ONE, TWO, THREE]):
        mark(layout, run_id, when)
    queue = QueueDirectory(layout)
    queue.look()
    clock.takes = 0.02

    assert [list(queue.take()) for _ in range(2)] == [[THREE, TWO], [ONE]]


def test_the_queue_rests_after_a_check(layout: Layout, clock: Any) -> None:
    """After a check of 0.5 s, nothing is read for ten times as long."""
    queue = QueueDirectory(layout)
    clock.takes = 0.5
    queue.look()  # from 0.5 to 1.0
    mark(layout, ONE, 1.0)
    clock.takes, found = 0.0, []
    for clock.at in (0.5 + REST * 0.5 - 0.1, 0.5 + REST * 0.5):
        queue.look()
        found.append(list(queue.take()))

    assert found == [[], [ONE]]


@pytest.mark.parametrize(
    ("content", "begun"),
    [(None, True), (b"", True), (PREAMBLE[:3], True), (PREAMBLE + b"...", True), (b"no", False)],
)
@pytest.mark.parametrize(
    ("age", "is_new"),
    [(COMING, True), (COMING + 1.0, False), (-COMING, True), (-COMING - 1.0, False)],
)
def test_journals_that_may_come(
    layout: Layout, clock: Any, content: bytes | None, begun: bool, age: float, is_new: bool
) -> None:
    """A run that was queued lately is checked again soon, unless its journal is no journal."""
    mark(layout, ONE, clock.date - age)
    if content is not None:
        layout.journal(ONE).write_bytes(content)
    queue = QueueDirectory(layout)
    queue.look()
    list(queue.take())
    found = queue.may_come(ONE)
    clock.at = AGAIN - 0.01
    queue.look()
    early = list(queue.take())
    clock.at = AGAIN
    queue.look()

    assert (found, early) == (begun and is_new, [])
    assert list(queue.take()) == ([ONE] if begun and is_new else [])


def test_a_directory_in_the_place_of_a_journal(layout: Layout, clock: Any) -> None:
    """What is no file never becomes a journal."""
    mark(layout, ONE, clock.date)
    layout.journal(ONE).mkdir()
    queue = QueueDirectory(layout)
    queue.look()

    assert not queue.may_come(ONE)


def test_a_queue_that_cannot_be_read(layout: Layout, clock: Any) -> None:
    """A queue that is no directory is empty."""
    (layout.root / "queue").rmdir()
    (layout.root / "queue").touch()
    queue = QueueDirectory(layout)
    queue.look()

    assert list(queue.take()) == []
