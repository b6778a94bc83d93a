"""The times in a run: those of the machine's clock at its start, which then only go on.

A wall clock may be set at any time, by the user or by a time server. A step would then seem to have
been made before the one before it, and a run's seconds and steps per second would be those of the
clock. The monotonic clock has no such jumps, but no date.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds by which a suspension must have lasted longer, so that the noise of two readings of the
#: clocks does not count.
_NOTABLE = 0.5


class Clock:
    """Returns seconds since the epoch when it is called, never fewer than before.

    Attributes:
        offset: what a bare reading lacks, in seconds.
        read: returns a bare reading. Steps use it, because an addition less is time saved.

    Args:
        not_before: the earliest time that it may show, such as that of a resumed run's last record.
    """

    def __init__(self, not_before: float = 0.0) -> None:
        self.read: Callable[[], float] = time.monotonic
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


def _suspended() -> float:
    """Return for how long the machine has been suspended since it was started, in seconds."""
    if not hasattr(time, "CLOCK_BOOTTIME"):  # not Linux
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
