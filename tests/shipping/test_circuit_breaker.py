"""A place that does not answer is asked by one run at a time, and not for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from lrtrack.errors import TrackerUnavailable
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.circuit_breaker import LONGEST_PAUSE, PATIENT, PAUSE, CircuitBreaker
from lrtrack.shipping.process import WORKERS, Shipper
from lrtrack.trackers.memory import MemoryTracker

RUNS = 40


class Away(MemoryTracker):
    """A tracker that does not answer until `back` is set; counts who asks."""

    portable = True

    def __init__(self) -> None:
        super().__init__()
        self.back = threading.Event()
        self.asked = 0

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Any:
        sink = super().sink(run, target, remote_id)
        opened = sink.open

        def open_() -> Any:
            if not self.back.is_set():
                self.asked += 1
                time.sleep(0.05)  # no answer takes its time
                raise TrackerUnavailable("nobody is there")
            return opened()

        sink.open = open_
        return sink


def journals(folder: Path, tracker: MemoryTracker) -> Layout:
    """Finished runs that wait for their delivery."""
    layout = Layout(folder / ".lrtrack")
    layout.create()
    for number in range(RUNS):
        run = Run(f"{number:032x}", "r", targets=(tracker.target("x"),))
        JournalWriter(layout.journal(run.id), run).close(State.FINISHED)
        layout.marker(run.id).touch()
    return layout


def test_the_shipper_leaves_a_place_that_never_answers(clean_place: Path):
    """Not every run tries by itself, and after a while nobody does; nothing is lost."""
    tracker = Away()
    layout = journals(clean_place, tracker)
    Shipper(layout, lambda name: tracker, patience=2.5, idle=60).run()

    assert 1 <= tracker.asked <= WORKERS + 3  # again after 0.5, 1 and 2 s at most
    assert len(layout.queued()) == RUNS


def test_all_go_on_when_one_is_answered(clean_place: Path):
    """The run that finds the place back speaks for all that wait for it."""
    tracker = Away()
    layout = journals(clean_place, tracker)
    timer = threading.Timer(1.0, tracker.back.set)
    timer.start()
    Shipper(layout, lambda name: tracker, patience=30, idle=0.2).run()
    timer.join()

    assert layout.queued() == []
    assert len(tracker.stored) == RUNS


def test_one_at_a_time_after_growing_pauses():
    """While it is away, the next attempt waits for the pause and for the attempt before."""
    place, probe = CircuitBreaker(), Future[None]()

    assert place.admits(0.0)
    place.failed(100.0, None)
    assert not place.admits(100.0 + PAUSE - 0.01)
    assert place.admits(100.0 + PAUSE)
    place.probe = probe
    assert not place.admits(200.0)
    probe.set_result(None)
    assert place.admits(200.0)
    place.failed(200.0, None)
    assert place.not_before == 200.0 + 2 * PAUSE
    place.failed(200.1, None)  # began before the pause
    assert place.not_before == 200.0 + 2 * PAUSE
    for at in range(300, 1300, 100):
        place.failed(float(at), None)
    assert place.not_before == 1200.0 + LONGEST_PAUSE
    place.answered()
    assert place.admits(1200.0)


def test_what_a_server_asks_for_is_kept_within_bounds():
    """Its `Retry-After` counts, but nobody waits for a day."""
    place = CircuitBreaker()
    place.failed(0.0, 7.0)
    assert place.not_before == 7.0
    place.failed(7.0, 86_400.0)
    assert place.not_before == 7.0 + PATIENT
