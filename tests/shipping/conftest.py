"""A journal directory, and a shipper with a clock and deliveries that do as they are told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lrtrack.errors import TrackerError
from lrtrack.journal.layout import Layout
from lrtrack.shipping import process, run_queue
from lrtrack.shipping.circuit_breaker import CircuitBreaker
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.process import Shipper
from lrtrack.shipping.run_queue import RunQueue
from lrtrack.shipping.scheduled_delivery import ScheduledDelivery
from lrtrack.trackers.memory import MemoryTracker


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """An empty journal directory."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    return layout


class Queue(RunQueue):
    """A queue that notes its messages and what it wants to look at later."""

    def __init__(self, layout: Layout, tracker: Any = None, **options: Any) -> None:
        self.said: list[str] = []
        self.postponed: list[tuple[str, float]] = []
        tracker = tracker or MemoryTracker()
        options = {"only": None, "serves": lambda target: True, "once": False, **options}
        super().__init__(layout, lambda name: tracker, log=self.said.append, **options)
        self.queued.later = lambda *what: self.postponed.append(what)  # type: ignore[method-assign]


@pytest.fixture
def queue_of(layout: Layout) -> Callable[..., Queue]:
    """Makes the queue of the directory; its trackers are one in memory, or another one."""
    return lambda tracker=None, **options: Queue(layout, tracker, **options)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The queue's clock, whose `at` is the time."""
    clock = SimpleNamespace(at=1000.0)
    clock.monotonic = lambda: clock.at
    monkeypatch.setattr(run_queue, "time", clock)
    return clock


class Clock:
    """The time, which a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Returns the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Moves the time."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The shipper's clock."""
    clock = Clock()
    monkeypatch.setattr(process, "time", clock)
    monkeypatch.setattr(process, "_jitter", SimpleNamespace(uniform=lambda low, high: low))
    return clock


class Scripted:
    """A delivery whose attempts do what a test says.

    Attributes:
        answers: for each attempt whether there is more, or the error that it raises.
        notes: the errors that were stored, and whether they are final.
    """

    def __init__(self, clock: Clock, answers: list[Any], alive: bool) -> None:
        self.run_id = "run"
        self.cursor = Cursor()
        self.damage: str | None = None
        self.answers, self.alive, self._clock = answers, alive, clock
        self.takes, self.attempts, self.released = 0.0, 0, 0
        self.notes: list[tuple[str, bool]] = []
        self.size = 10

    def extent(self) -> tuple[int, bool]:
        """Returns the size of the journal, and whether it may grow."""
        return self.size, self.alive

    def kept_back(self) -> bool:
        """Returns False: nothing holds it back."""
        return False

    def advance(self) -> bool:
        """Takes some time, then answers or raises."""
        self.attempts += 1
        self._clock.now += self.takes
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    def note(self, error: TrackerError, final: bool) -> None:
        """Stores an error."""
        self.notes.append((str(error), final))

    def release(self) -> None:
        """Counts."""
        self.released += 1


class Pool:
    """Runs what is submitted at once, or keeps it unfinished."""

    def __init__(self, waits: bool = False) -> None:
        self.waits = waits

    def submit(self, work: Callable[..., None], *arguments: Any) -> Future[None]:
        """Returns the future of the work."""
        future: Future[None] = Future()
        if not self.waits:
            future.set_result(work(*arguments))
        return future


class Shipping:
    """A shipper with scripted deliveries.

    Attributes:
        said: its messages.
    """

    def __init__(self, folder: Path, clock: Clock, **options: Any) -> None:
        layout = Layout(folder / ".lrtrack")
        layout.create()
        self.clock, self.said = clock, []
        self.place = CircuitBreaker()
        self.shipper = Shipper(layout, lambda name: None, log=self.said.append, **options)  # type: ignore[arg-type,return-value]
        self.queue = self.shipper._queue
        self.queue.breakers["memory", None] = self.place

    def job(
        self, *answers: Any, alive: bool = False, place: CircuitBreaker | None = None
    ) -> ScheduledDelivery:
        """Adds a delivery."""
        lock: Any = SimpleNamespace(kept=lambda: True, remove=lambda: None)
        delivery: Any = Scripted(self.clock, list(answers), alive)
        job = ScheduledDelivery(delivery, place or self.place, lock, alive)
        self.queue.deliveries[f"{len(self.queue.deliveries):032x}", "memory"] = job
        return job

    def round(self, waits: bool = False) -> tuple[bool, bool, bool]:
        """One round: whether something waits, is under way, is running."""
        return self.shipper._round(Pool(waits))  # type: ignore[arg-type]


@pytest.fixture
def shipping(clean_place: Path, clock: Clock) -> Callable[..., Shipping]:
    """Makes a shipper."""
    return lambda **options: Shipping(clean_place, clock, **options)
