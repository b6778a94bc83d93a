"""Circuit breakers: a server that does not answer is tried by one run at a time.

Hundreds of runs may wait for one server that is down. If each of them tried by itself, the attempts
would take the machine's time from its trainings; for W&B each attempt is a process.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

#: First and longest pause after a failure, in seconds.
PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: The longest pause that a server may ask for.
PATIENT = 300.0
#: Finished runs that are opened for one server; the others wait as names only.
AT_HAND = 32


@dataclass
class CircuitBreaker:
    """The state of one tracker at one address, shared by all runs that go there.

    Attributes:
        pause: seconds between two attempts; 0 while the server answers, as far as is known.
        not_before: when the next attempt may be made.
        probe: the running attempt that finds out whether the server answers again.
        unanswered: failed attempts in a row.
        waiting: finished runs that wait for room, the next one first.
        over: open deliveries of finished runs; living: of running ones; busy: how many of the
            former are being served.
    """

    pause: float = 0.0
    not_before: float = 0.0
    probe: Future[None] | None = None
    unanswered: int = 0
    waiting: dict[str, None] = field(default_factory=dict)
    over: int = 0
    living: int = 0
    busy: int = 0

    @property
    def room(self) -> bool:
        """Returns whether another finished run may be opened."""
        return self.over < AT_HAND

    def next(self) -> Iterator[str]:
        """Yields the runs that there is room for now."""
        while self.waiting and self.room:
            run_id = next(iter(self.waiting))
            del self.waiting[run_id]
            yield run_id

    def admits(self, now: float) -> bool:
        """Returns whether an attempt may be made now."""
        if not self.pause:
            return True
        return now >= self.not_before and (self.probe is None or self.probe.done())

    def answered(self) -> None:
        """Records that an attempt succeeded."""
        self.pause = self.not_before = 0.0
        self.unanswered = 0

    def failed(self, now: float, retry_after: float | None) -> None:
        """Records a failed attempt; others that started before the pause add no information."""
        self.unanswered += 1
        if now < self.not_before:
            return
        self.pause = min(max(PAUSE, 2 * self.pause), LONGEST_PAUSE)
        self.not_before = now + min(retry_after or self.pause, PATIENT)
