"""The queue as a shipper sees it: the newest runs first, a little at each look.

Thousands of runs may wait for a place that is away. A run that begins now must not wait until all
of them have been looked at, nor may looking at them take much of the machine's time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.layout import Layout

#: Seconds that one look may spend on runs that have waited.
SLICE = 0.05
#: A look at the queue is followed by a rest of so many times as long as it took.
REST = 10
#: Seconds after it was queued in which a journal may be missing or half begun, and seconds between
#: two attempts at it.
COMING, AGAIN = 10.0, 0.2


class QueueDirectory:
    """Queued runs that are still to be looked at.

    Args:
        layout: the journal directory.
        only: this run, whether queued or not, and no other; None: all that are queued.
    """

    def __init__(self, layout: Layout, only: str | None = None) -> None:
        self._layout = layout
        self._only = only
        self._markers: dict[str, int] = {}
        self._unseen: dict[str, None] = {}  # in order, the first to be looked at last
        self._coming: dict[str, float] = {}
        self._rest_until = 0.0

    def __bool__(self) -> bool:
        """Whether there is something to look at now."""
        return bool(self._unseen)

    def look(self) -> None:
        """See what was queued, or queued again, since the last look."""
        now = time.monotonic()
        if now < self._rest_until:
            return
        markers = {self._only: 0} if self._only is not None else self._queued()
        for run_id, queued in markers.items():
            if self._markers.get(run_id) != queued:
                self._put(run_id)
        self._markers = markers
        for run_id in [each for each, when in self._coming.items() if when <= now]:
            del self._coming[run_id]
            self._put(run_id)
        self._rest_until = now + REST * (time.monotonic() - now)

    def take(self) -> Iterator[str]:
        """Runs to be taken up, the one queued last first, for as long as a look may last."""
        until = time.monotonic() + SLICE
        while self._unseen and time.monotonic() < until:
            run_id, _ = self._unseen.popitem()
            yield run_id

    def again(self, run_ids: set[str]) -> None:
        """Have another look at these runs, after those that wait for the first."""
        self._unseen = {**dict.fromkeys(run_ids), **self._unseen}

    def later(self, run_id: str, pause: float) -> None:
        """Have another look at a run after `pause` seconds."""
        self._coming[run_id] = time.monotonic() + pause

    def may_come(self, run_id: str) -> bool:
        """Whether a journal that cannot be read may be readable soon; then it comes again.

        A run is queued before its journal is begun, so that no journal is ever forgotten.
        """
        age = time.time() - self._markers.get(run_id, 0) / 1e9
        if abs(age) > COMING or not self._begun(run_id):
            return False
        self._coming[run_id] = time.monotonic() + AGAIN
        return True

    def _begun(self, run_id: str) -> bool:
        """Whether what there is of the journal, perhaps nothing, is a journal as far as it goes."""
        try:
            with self._layout.journal(run_id).open("rb") as file:
                return PREAMBLE.startswith(file.read(len(PREAMBLE)))
        except OSError:
            return True

    def _queued(self) -> dict[str, int]:
        try:
            return self._layout.markers()
        except OSError:
            return {}

    def _put(self, run_id: str) -> None:
        self._unseen.pop(run_id, None)
        self._unseen[run_id] = None
