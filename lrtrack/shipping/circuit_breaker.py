"""Places that do not answer: asked by one run at a time, until one of them is answered.

Hundreds of runs may wait for one server that is away. Would each of them try by itself, the
attempts would take the machine's time from the trainings on it, for W&B a process each.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

#: First and longest pause after a failure, in seconds.
PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: The longest pause that a server may ask for.
PATIENT = 300.0
#: Runs that are over and at hand for one place; the others wait as names only.
AT_HAND = 32


@dataclass
class CircuitBreaker:
    """A tracker at one address, which all runs that go there have in common.

    Attributes:
        pause: seconds between two attempts; 0 while it answers, as far as anybody knows.
        not_before: when the next attempt may be made.
        probe: the attempt under way that finds out whether it answers again.
        unanswered: attempts in a row that came to nothing.
        waiting: runs that are over and wait for room, the next one first.
        over: runs at hand that are over; living: those that go on; busy: how many of the former
            are being served.
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
        """Whether another run that is over may be at hand."""
        return self.over < AT_HAND

    def next(self) -> Iterator[str]:
        """Runs that there is room for now."""
        while self.waiting and self.room:
            run_id = next(iter(self.waiting))
            del self.waiting[run_id]
            yield run_id

    def admits(self, now: float) -> bool:
        """Whether an attempt may be made now."""
        if not self.pause:
            return True
        return now >= self.not_before and (self.probe is None or self.probe.done())

    def answered(self) -> None:
        """Note that an attempt went well."""
        self.pause = self.not_before = 0.0
        self.unanswered = 0

    def failed(self, now: float, retry_after: float | None) -> None:
        """Note that an attempt did not; others that began before the pause tell nothing new."""
        self.unanswered += 1
        if now < self.not_before:
            return
        self.pause = min(max(PAUSE, 2 * self.pause), LONGEST_PAUSE)
        self.not_before = now + min(retry_after or self.pause, PATIENT)
