"""How many rows of a run a tracker's charts are meant for: so many a minute, and so many in all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: The share of a run's rows that its first steps may have one by one, and the share that each
#: tenfold number of steps adds: a run of 10⁸ times as many steps still has fewer rows in all.
FIRST, PER_DECADE = 0.2, 0.1


@dataclass
class RowBudget:
    """The rows that may be sent so far. Only the rows' times count, not when they are sent.

    Rows of a minute may come at once, after which there is room for one each `60 / per_minute`
    seconds. In the whole run, the first `FIRST * per_run` steps may have a row each; later ones
    share fewer and fewer, because the number of steps to come is unknown.

    Attributes:
        per_minute: rows a minute.
        per_run: rows in the whole run.
        steps: steps so far.
        rows: rows that were spent so far.
        room: rows that may come at once now.
        time: when the latest step was made, in seconds since the epoch; 0 before the first.
    """

    per_minute: int
    per_run: int
    steps: int = 0
    rows: int = 0
    room: float = math.inf
    time: float = 0.0

    def __post_init__(self) -> None:
        self.room = min(self.room, float(self.per_minute))

    def step(self, time: float) -> None:
        """Count a step that was made at `time`."""
        self.steps += 1
        if time > self.time:
            earned = (time - self.time) * self.per_minute / 60
            self.room = min(float(self.per_minute), self.room + earned)
        self.time = time  # also if the clock was set back, after which time goes on from there

    def affords(self, rows: int) -> bool:
        """Whether so many rows may be spent now."""
        return self.room >= rows and self.rows + rows <= self._most()

    def spend(self, rows: int) -> None:
        """Count rows that are sent."""
        self.room = max(self.room - rows, -float(self.per_minute))
        self.rows += rows

    def spend_each(self, times: Iterable[float]) -> None:
        """Count steps with a row each, until more were spent than there may be.

        Args:
            times: when the steps were made, in seconds since the epoch.
        """
        for time in times:
            if self.is_exceeded:
                return
            self.step(time)
            self.spend(1)

    @property
    def is_exceeded(self) -> bool:
        """Whether more rows were spent than the tracker's charts are meant for."""
        return self.room < 0 or self.rows > self.per_run

    @property
    def state(self) -> list[float]:
        """What has been counted so far, which `restore` takes."""
        return [self.steps, self.rows, self.room, self.time]

    def restore(self, state: Sequence[float]) -> None:
        """Go on from an earlier `state`."""
        self.steps, self.rows = int(state[0]), int(state[1])
        self.room, self.time = float(state[2]), float(state[3])

    def _most(self) -> float:
        """The most rows for the steps so far."""
        first = FIRST * self.per_run
        if self.steps <= first:
            return self.steps
        return first + PER_DECADE * self.per_run * math.log10(self.steps / first)
