"""The queue on disk as a shipper reads it: the newest runs first, a little at each check.

Thousands of runs may wait for a server that is down. A new run must not wait until all of them have
been checked, and checking them must not take much of the machine's time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.layout import Layout, open_regular

#: Seconds that one check may spend on runs that have waited.
SLICE = 0.05
#: After a check, the queue rests this many times as long as the check took.
REST = 10
#: Seconds after queueing for which a journal may be missing or incomplete, and seconds between
#: two attempts at it.
COMING, AGAIN = 10.0, 0.2


class QueueDirectory:
    """Queued runs that are still to be checked.

    Args:
        layout: the journal directory.
        only: this run alone, whether queued or not; None: all queued runs.
    """

    def __init__(self, layout: Layout, only: str | None = None) -> None:
        self._layout = layout
        self._only = only
        self._markers: dict[str, int] = {}
        self._unseen: dict[str, None] = {}  # in order, with the first to be checked at the end
        self._coming: dict[str, float] = {}
        self._rest_until = 0.0

    def __bool__(self) -> bool:
        """Whether there is something to check now."""
        return bool(self._unseen)

    def look(self) -> None:
        """Finds what was queued, or queued again, since the last check."""
        now = time.monotonic()
        if now < self._rest_until:
            return
        markers = {self._only: 0} if self._only is not None else self._queued()
        for run_id, queued in markers.items():
            if self._markers.get(run_id) != queued:
                self._put(run_id)
        self._markers = markers
        for run_id in [name for name, when in self._coming.items() if when <= now]:
            del self._coming[run_id]
            self._put(run_id)
        self._rest_until = now + REST * (time.monotonic() - now)

    def take(self) -> Iterator[str]:
        """Yields runs to be opened, the one queued last first, for as long as a check may last."""
        until = time.monotonic() + SLICE
        while self._unseen and time.monotonic() < until:
            run_id, _ = self._unseen.popitem()
            yield run_id

    def again(self, run_ids: set[str]) -> None:
        """Checks these runs again, after those that wait for the first time."""
        self._unseen = {**dict.fromkeys(run_ids - self._unseen.keys()), **self._unseen}

    def later(self, run_id: str, pause: float) -> None:
        """Checks a run again after `pause` seconds."""
        self._coming[run_id] = time.monotonic() + pause

    def may_come(self, run_id: str) -> bool:
        """Returns whether an unreadable journal may become readable soon; then it is checked again.

        A run is queued before its journal is created, so that no journal is ever forgotten.
        """
        age = time.time() - self._markers.get(run_id, 0) / 1e9
        if abs(age) > COMING or not self._begun(run_id):
            return False
        self._coming[run_id] = time.monotonic() + AGAIN
        return True

    def _begun(self, run_id: str) -> bool:
        """Returns whether the existing part of the journal, perhaps nothing, is valid."""
        try:
            with open_regular(self._layout.journal(run_id)) as file:
                return PREAMBLE.startswith(file.read(len(PREAMBLE)))
        except FileNotFoundError:
            return True
        except OSError:  # another user's, or no file at all
            return False

    def _queued(self) -> dict[str, int]:
        try:
            return self._layout.markers()
        except OSError:
            return {}

    def _put(self, run_id: str) -> None:
        self._unseen.pop(run_id, None)
        self._unseen[run_id] = None
