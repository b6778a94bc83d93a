"""The training's side of delivery: when a shipper is started, and what stands in for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrtrack.errors import LRTrackWarning
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping import courier, spawn
from lrtrack.shipping.courier import ATTEMPTS, CHECK_INTERVAL, START_GRACE, Courier
from lrtrack.shipping.credentials import Snapshot
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.lock import Lock
from lrtrack.trackers import registry
from lrtrack.trackers.memory import MemoryTracker

RUN = Run("a" * 32, "r", targets=(Target("memory", experiment="x", portable=False),))


class World:
    """What a courier sees: a clock, and whether shippers start.

    Attributes:
        now: the time, in seconds.
        starts: whether starting a process works.
        launched: when a process was started.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.starts = True
        self.launched: list[float] = []

    def launch(self, layout: Layout, snapshot: Snapshot) -> bool:
        """Starts a process, or fails."""
        if self.starts:
            self.launched.append(self.now)
        return self.starts


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world without shippers."""
    world = World()
    monkeypatch.setattr(courier.time, "monotonic", lambda: world.now)
    monkeypatch.setattr(spawn, "launch", world.launch)
    monkeypatch.setattr(spawn, "starting", {})
    monkeypatch.setattr(spawn, "children", set())
    monkeypatch.setattr(spawn, "orphans", set())
    return world


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """A journal directory with the finished run, which is queued."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    JournalWriter(layout.journal(RUN.id), RUN).close(State.FINISHED)
    layout.marker(RUN.id).touch()
    return layout


def courier_of(layout: Layout, *trackers: Any, **objects: MemoryTracker) -> Courier:
    """The courier of the run."""
    return Courier(layout, RUN.id, objects, Snapshot({}, {}, trackers))


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Instead of starting a thread, notes whether it would deliver to what processes reach."""
    started: list[bool] = []

    class Thread(threading.Thread):
        def is_alive(self) -> bool:
            return True

    def start(self: Courier, trackers: Any, portable: bool) -> threading.Thread:
        started.append(portable)
        return Thread()

    monkeypatch.setattr(Courier, "_start_thread", start)
    return started


def test_a_shipper_is_started_three_times_then_a_thread(
    layout: Layout, world: World, threads: list[bool]
) -> None:
    """A shipper that never takes its lock is started again after each check, three times."""
    one = courier_of(layout)
    one.start(portable=True)
    for _ in range(ATTEMPTS - 1):
        world.now += CHECK_INTERVAL
        one.ensure_shipper()
    assert (world.launched, threads) == ([1000.0, 1001.0, 1002.0], [])
    world.now += CHECK_INTERVAL
    with pytest.warns(LRTrackWarning, match="cannot start its shipper process"):
        one.ensure_shipper()
    world.now += CHECK_INTERVAL
    one.ensure_shipper()

    assert (world.launched, threads) == ([1000.0, 1001.0, 1002.0], [True])


def test_a_machine_that_starts_no_process(
    layout: Layout, world: World, threads: list[bool]
) -> None:
    """A thread delivers at once where a process cannot be started."""
    world.starts = False
    with pytest.warns(LRTrackWarning, match="A thread uploads this run instead"):
        courier_of(layout).start(portable=True)

    assert threads == [True]


def test_two_checks_within_a_second(layout: Layout, world: World) -> None:
    """The second check is made no earlier than a second after the first."""
    one = courier_of(layout)
    one.start(portable=True)
    world.now += CHECK_INTERVAL - 0.01
    one.ensure_shipper()
    assert world.launched == [1000.0]
    world.now = 1000.0 + CHECK_INTERVAL
    one.ensure_shipper()

    assert world.launched == [1000.0, 1001.0]


@pytest.mark.parametrize("kind", ["children", "orphans"])
def test_a_shipper_that_is_still_starting(
    layout: Layout, world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """No other one is started for ten seconds while the process lives."""
    monkeypatch.setattr(spawn, kind, {os.getpid()})
    monkeypatch.setattr(spawn, "reap", lambda: None)
    one, other = courier_of(layout), courier_of(layout)
    one.start(portable=True)
    other.start(portable=True)
    assert world.launched == [1000.0]
    world.now += START_GRACE - 0.01
    one.ensure_shipper()
    assert world.launched == [1000.0]
    world.now = 1000.0 + START_GRACE
    other.ensure_shipper()

    assert world.launched == [1000.0, 1000.0 + START_GRACE]


def test_a_shipper_that_runs(layout: Layout, world: World, threads: list[bool]) -> None:
    """Where a shipper has the lock none is started, and earlier failures are forgotten."""
    one = courier_of(layout)
    lock = Lock(layout.shipper_lock(one._snapshot.key))
    for held in (False, False, True, False, False, False):
        assert not held or lock.acquire()
        one._portable = True
        one.ensure_shipper()
        assert held is (not world.launched or world.launched[-1] != world.now)
        assert held is (one._lock not in spawn.starting)
        lock.release()
        world.now += CHECK_INTERVAL

    assert threads == []


def test_nothing_that_another_process_could_deliver(layout: Layout, world: World) -> None:
    """A run that only goes to objects of this process starts no shipper."""
    courier_of(layout).start(portable=False)

    assert world.launched == []


def test_a_directory_that_is_gone(layout: Layout, world: World, threads: list[bool]) -> None:
    """Neither a process nor a thread is started for a directory that cannot be written."""
    one = courier_of(layout)
    layout.root.rename(layout.root.with_name("away"))
    one._portable = True
    one.ensure_shipper()
    layout.root.with_name("away").rename(layout.root)

    assert (world.launched, threads) == ([], [])


@pytest.mark.parametrize(("portable", "is_back"), [(True, True), (False, False)])
def test_a_marker_that_was_deleted(
    layout: Layout, world: World, portable: bool, is_back: bool
) -> None:
    """A run that a shipper can deliver is queued again; one that is queued keeps its place."""
    one = courier_of(layout)
    one.start(portable)
    os.utime(layout.marker(RUN.id), (5.0, 5.0))
    one.ensure_queued()
    assert layout.marker(RUN.id).stat().st_mtime == 5.0
    layout.marker(RUN.id).unlink()
    one.ensure_queued()

    assert layout.marker(RUN.id).exists() is is_back


def test_objects_are_served_by_a_thread_that_stops(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, within_seconds: Callable[..., None]
) -> None:
    """A thread delivers to a tracker object of this process, and ends when it is asked to."""
    monkeypatch.setattr(courier, "STOP_TIMEOUT", 600.0)
    tracker = MemoryTracker()
    layout.marker(RUN.id).unlink()
    writer = JournalWriter(layout.journal(RUN.id), RUN)
    one = courier_of(layout, memory=tracker)
    one.start(portable=False)
    within_seconds(30, lambda: RUN.id in tracker.stored)
    ((_, thread),) = one._threads
    assert thread.is_alive()
    one.stop()
    writer.close(State.FINISHED)

    assert not thread.is_alive()
    assert one._threads == []


def test_a_thread_that_was_never_started(layout: Layout) -> None:
    """A thread whose start was interrupted is not waited for."""
    one = courier_of(layout)
    stopped: list[str] = []

    class Shipper:
        def stop(self) -> None:
            stopped.append("asked")

    one._threads.append((Shipper(), threading.Thread()))  # type: ignore[arg-type]
    one.stop()

    assert stopped == ["asked"]


def test_errors_of_an_earlier_process_are_cleared(layout: Layout) -> None:
    """A resumed run is tried again by the trackers that are free; others keep their error."""
    free, busy = registry.get("mlflow"), registry.get("wandb")
    path = layout.cursor(RUN.id, "mlflow")
    refused = Cursor(offset=7, error="no", refused="log in", given_up=True, failures=3)
    for tracker in (free, busy):
        refused.save(layout.cursor(RUN.id, tracker.name))
    lock = Lock(layout.delivery_lock(RUN.id, "wandb"))
    lock.acquire()
    courier_of(layout, free, busy).start(portable=False)
    lock.remove()

    assert Cursor.load(path) == Cursor(offset=7)
    assert Cursor.load(layout.cursor(RUN.id, "wandb")) == refused
    assert not layout.delivery_lock(RUN.id, "mlflow").exists()


def test_credentials_that_changed_during_the_training(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of credentials that were set since the beginning are in one sentence."""
    one = courier_of(layout, registry.get("mlflow"))
    found = []
    for credentials in ({}, {"A": "1"}, {"A": "1", "B": "2"}):
        monkeypatch.setattr(
            Snapshot, "take", classmethod(lambda cls, _, now=credentials: cls({}, now))
        )
        found.append(one.changed_credentials())

    assert found == [
        "",
        "A was set since the run began; `lrtrack sync` will use it",
        "A and B were set since the run began; `lrtrack sync` will use them",
    ]
