"""The times in a run: those of the machine's clock at its start, which then only go on.

A wall clock may be set at any time, by the user or by a time server. A step would then seem to have
been made before the one before it, and a run's seconds and steps per second would be those of the
clock. The monotonic clock has no such jumps, but no date.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

#: Seconds by which a suspension must have lasted longer, so that the noise of two readings of the
#: clocks does not count.
_NOTABLE = 0.5


class Shift(Protocol):
    """What is added to the reading of a clock.

    Attributes:
        offset: seconds.
    """

    offset: float


class Clock:
    """Returns seconds since the epoch when it is called, never fewer than before.

    Attributes:
        offset: what `time.monotonic()` lacks, in seconds.

    Args:
        not_before: the earliest time that it may show, such as that of a resumed run's last record.
    """

    def __init__(self, not_before: float = 0.0) -> None:
        self.offset = max(time.time(), not_before) - time.monotonic()
        self._suspended = _suspended()

    def __call__(self) -> float:
        """Return the present time."""
        return time.monotonic() + self.offset

    def look(self) -> None:
        """Add the time for which the machine was suspended, when its monotonic clock stood still.

        To be called now and then.
        """
        suspended = _suspended()
        if suspended - self._suspended > _NOTABLE:
            self.offset += suspended - self._suspended
            self._suspended = suspended


class _Nothing:
    offset = 0.0


def parts(clock: Callable[[], float]) -> tuple[Callable[[], float], Shift]:
    """Return what reads a clock at the least cost, and what must be added to that."""
    return (time.monotonic, clock) if isinstance(clock, Clock) else (clock, _Nothing())


def _suspended() -> float:
    """Return for how long the machine has been suspended since it was started, in seconds."""
    if not hasattr(time, "CLOCK_BOOTTIME"):  # not Linux
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
