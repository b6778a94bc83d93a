"""Places that do not answer: asked by one run at a time, until one of them is answered.

Hundreds of runs may wait for one server that is away. Would each of them try by itself, the
attempts would take the machine's time from the trainings on it, for W&B a process each.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

#: First and longest pause after a failure, in seconds.
PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: The longest pause that a server may ask for.
PATIENT = 300.0


@dataclass
class Place:
    """A tracker at one address, which all runs that go there have in common.

    Attributes:
        pause: seconds between two attempts; 0 while it answers, as far as anybody knows.
        not_before: when the next attempt may be made.
        probe: the attempt under way that finds out whether it answers again.
    """

    pause: float = 0.0
    not_before: float = 0.0
    probe: Future[None] | None = None

    def admits(self, now: float) -> bool:
        """Whether an attempt may be made now."""
        if not self.pause:
            return True
        return now >= self.not_before and (self.probe is None or self.probe.done())

    def answered(self) -> None:
        """Note that an attempt went well."""
        self.pause = self.not_before = 0.0

    def failed(self, now: float, retry_after: float | None) -> None:
        """Note that an attempt did not; others that began before the pause tell nothing new."""
        if now < self.not_before:
            return
        self.pause = min(max(PAUSE, 2 * self.pause), LONGEST_PAUSE)
        self.not_before = now + min(retry_after or self.pause, PATIENT)
