"""A server that does not answer is tried by one run at a time, and not forever."""

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
    """A tracker that does not answer until `back` is set, and counts the attempts."""

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
                time.sleep(0.05)  # A connection attempt takes time to fail.
                raise TrackerUnavailable("nobody is there")
            return opened()

        sink.open = open_
        return sink


def journals(folder: Path, tracker: MemoryTracker) -> Layout:
    """Finished runs that wait for delivery."""
    layout = Layout(folder / ".lrtrack")
    layout.create()
    for number in range(RUNS):
        run = Run(f"{number:032x}", "r", targets=(tracker.target("x"),))
        JournalWriter(layout.journal(run.id), run).close(State.FINISHED)
        layout.marker(run.id).touch()
    return layout


def test_the_shipper_leaves_a_place_that_never_answers(clean_place: Path):
    """The shipper makes few attempts at a dead server, then exits with all journals kept."""
    tracker = Away()
    layout = journals(clean_place, tracker)
    Shipper(layout, lambda name: tracker, patience=2.5, idle=60).run()

    assert 1 <= tracker.asked <= WORKERS + 3  # At most one retry each after 0.5, 1 and 2 s.
    assert len(layout.queued()) == RUNS


def test_all_go_on_when_one_is_answered(clean_place: Path):
    """After one run reaches the server again, all runs that wait for it are delivered."""
    tracker = Away()
    layout = journals(clean_place, tracker)
    timer = threading.Timer(1.0, tracker.back.set)
    timer.start()
    Shipper(layout, lambda name: tracker, patience=30, idle=0.2).run()
    timer.join()

    assert layout.queued() == []
    assert len(tracker.stored) == RUNS


def test_one_at_a_time_after_growing_pauses():
    """While a server is down, attempts are made one at a time with growing pauses."""
    breaker, probe = CircuitBreaker(), Future[None]()

    assert breaker.admits(0.0)
    breaker.failed(100.0, None)
    assert not breaker.admits(100.0 + PAUSE - 0.01)
    assert breaker.admits(100.0 + PAUSE)
    breaker.probe = probe
    assert not breaker.admits(200.0)
    probe.set_result(None)
    assert breaker.admits(200.0)
    breaker.failed(200.0, None)
    assert breaker.not_before == 200.0 + 2 * PAUSE
    breaker.failed(200.1, None)  # This attempt started before the pause.
    assert breaker.not_before == 200.0 + 2 * PAUSE
    for at in range(300, 1300, 100):
        breaker.failed(float(at), None)
    assert breaker.not_before == 1200.0 + LONGEST_PAUSE
    breaker.answered()
    assert breaker.admits(1200.0)


def test_what_a_server_asks_for_is_kept_within_bounds():
    """A server's `Retry-After` header is respected up to a limit."""
    breaker = CircuitBreaker()
    breaker.failed(0.0, 7.0)
    assert breaker.not_before == 7.0
    breaker.failed(7.0, 86_400.0)
    assert breaker.not_before == 7.0 + PATIENT
