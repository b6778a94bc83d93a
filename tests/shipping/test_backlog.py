"""A long queue: the newest run comes first, few are open at a time, and none blocks the others."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lrtrack.errors import TrackerError, TrackerUnavailable
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.circuit_breaker import AT_HAND
from lrtrack.shipping.process import OVER, WORKERS, Shipper
from lrtrack.trackers.base import Remote
from lrtrack.trackers.memory import MemorySink, MemoryTracker

RUNS = 150


class Watched(MemoryTracker):
    """A tracker that counts its open sinks and answers as the test configures it."""

    portable = True

    def __init__(self) -> None:
        super().__init__()
        self.sinks: weakref.WeakSet[Any] = weakref.WeakSet()
        self.most = 0
        self.opened: list[str] = []
        self.answers: dict[str, Exception] = {}
        self.takes = 0.0

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Any:
        sink = WatchedSink(self, run, target)
        self.sinks.add(sink)
        self.most = max(self.most, len(self.sinks))
        return sink


class WatchedSink(MemorySink):
    """A sink that answers as its tracker is configured."""

    def open(self) -> Remote:
        tracker, run_id = self._tracker, self._run.id
        assert isinstance(tracker, Watched)
        tracker.opened.append(run_id)
        time.sleep(tracker.takes)
        if run_id in tracker.answers:
            raise tracker.answers[run_id]
        return super().open()


@pytest.fixture
def tracker() -> Watched:
    """The tracker under test."""
    return Watched()


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """An empty journal directory."""
    found = Layout(clean_place / ".lrtrack")
    found.create()
    return found


def run_of(number: int) -> Run:
    """Returns a run for the tracker, with its number in its id."""
    return Run(f"{number:032x}", "r", targets=(Target("memory", experiment="x"),))


def left_behind(layout: Layout, number: int) -> str:
    """Queues a finished run and returns its id."""
    run = run_of(number)
    JournalWriter(layout.journal(run.id), run).close(State.FINISHED)
    layout.marker(run.id).touch()
    return run.id


@pytest.fixture
def serving(layout: Layout, tracker: Watched) -> Iterator[Any]:
    """Starts a shipper in a thread, stops it after the test, and returns its messages."""
    started = []

    def start() -> list[str]:
        said: list[str] = []
        shipper = Shipper(layout, lambda name: tracker, idle=600, log=said.append)
        thread = threading.Thread(target=shipper.run, name="shipper")
        thread.start()
        started.append((shipper, thread))
        return said

    yield start
    for shipper, thread in started:
        shipper.stop()
        thread.join()


def test_all_of_a_long_queue_is_delivered(layout: Layout, tracker: Watched) -> None:
    """A long queue is delivered from the newest run on, with a bounded number open at a time."""
    ids = [left_behind(layout, number) for number in range(RUNS)]
    Shipper(layout, lambda name: tracker, idle=0.0).run()

    assert layout.queued() == []
    assert sorted(tracker.stored) == ids
    assert set(tracker.opened[:OVER]) <= set(ids[-3 * OVER :])
    assert tracker.most <= AT_HAND + WORKERS


def test_a_run_that_begins_is_served_before_those_that_wait(
    layout: Layout, tracker: Watched, serving: Any, within_seconds: Any
) -> None:
    """A run that starts now is delivered before the waiting ones, however many there are."""
    for number in range(RUNS):
        left_behind(layout, number)
    tracker.takes = 0.5
    serving()
    within_seconds(10, lambda: len(tracker.opened) > 0)
    run = run_of(RUNS)
    writer = JournalWriter(layout.journal(run.id), run)
    layout.marker(run.id).touch()
    within_seconds(20, lambda: run.id in tracker.stored)
    before = tracker.opened.index(run.id)
    writer.close(State.FINISHED)

    assert before <= 3 * WORKERS


def test_an_older_run_that_goes_on_is_found_among_those_that_wait(
    layout: Layout, tracker: Watched, serving: Any, within_seconds: Any
) -> None:
    """An old run that is still training is served even if finished runs of its tracker must
    wait.
    """
    run = run_of(RUNS)
    writer = JournalWriter(layout.journal(run.id), run)
    layout.marker(run.id).touch()
    time.sleep(0.02)
    for number in range(RUNS):
        tracker.answers[left_behind(layout, number)] = TrackerUnavailable("not now")
    serving()
    within_seconds(20, lambda: run.id in tracker.opened)
    writer.close(State.FINISHED)


def test_those_that_are_refused_leave_room(layout: Layout, tracker: Watched) -> None:
    """Refused runs free their slots, so that other trackers' runs are delivered."""
    sound = left_behind(layout, 0)
    time.sleep(0.02)
    refused = [left_behind(layout, number) for number in range(1, 2 * AT_HAND)]
    tracker.answers = {run_id: TrackerError("no") for run_id in refused}
    Shipper(layout, lambda name: tracker, idle=0.3).run()

    assert list(tracker.stored) == [sound]
    assert layout.queued() == refused
    assert sorted(tracker.opened) == [sound, *refused]


def test_those_that_are_put_off_leave_room(
    layout: Layout, tracker: Watched, serving: Any, within_seconds: Any
) -> None:
    """Postponed runs free their slots until their next attempt."""
    sound = left_behind(layout, 0)
    time.sleep(0.02)
    late = [left_behind(layout, number) for number in range(1, AT_HAND + 1)]
    tracker.answers = {run_id: TrackerUnavailable("later", 0.01) for run_id in late}
    serving()
    within_seconds(30, lambda: list(tracker.stored) == [sound])


def test_a_run_that_is_queued_again_is_taken_up_again(
    layout: Layout, tracker: Watched, serving: Any, within_seconds: Any
) -> None:
    """A refused run is delivered after a training resumes its journal."""
    run_id = left_behind(layout, 0)
    tracker.answers = {run_id: TrackerError("no")}
    said = serving()
    within_seconds(10, lambda: any("given up" in line for line in said))
    time.sleep(0.3)
    tracker.answers.clear()
    layout.marker(run_id).touch()
    within_seconds(10, lambda: run_id in tracker.stored)

    within_seconds(10, lambda: layout.queued() == [])


def test_a_run_that_is_queued_before_its_journal(
    layout: Layout, tracker: Watched, serving: Any, within_seconds: Any
) -> None:
    """A run that is queued before its journal exists is picked up later without a wake-up."""
    run = run_of(0)
    layout.marker(run.id).touch()
    said = serving()
    time.sleep(1.0)
    path = layout.journal(run.id)
    path.touch()  # The journal exists but is still empty.
    time.sleep(0.5)
    JournalWriter(path, run).close(State.FINISHED)
    within_seconds(10, lambda: layout.queued() == [])

    assert list(tracker.stored) == [run.id]
    assert said == []


def test_a_broken_journal_is_left_with_a_word(
    layout: Layout, tracker: Watched, serving: Any, within_seconds: Any
) -> None:
    """A broken journal is reported and skipped, and the other runs are delivered."""
    run_id = left_behind(layout, 0)
    layout.journal(run_id).write_bytes(b"rubbish" * 10)
    sound = left_behind(layout, 1)
    said = serving()
    within_seconds(10, lambda: sound in tracker.stored)
    within_seconds(10, lambda: len(said) == 1)

    assert said[0].startswith(f"{run_id}: left alone: cannot read")
    within_seconds(10, lambda: layout.queued() == [run_id])
