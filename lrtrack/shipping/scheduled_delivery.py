"""One delivery between its attempts: pauses, failures, and what it has delivered."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass

from lrtrack.shipping.circuit_breaker import PAUSE, CircuitBreaker
from lrtrack.shipping.delivery import Delivery
from lrtrack.shipping.lock import Lock


@dataclass
class ScheduledDelivery:
    """An open delivery.

    Attributes:
        lock: keeps other processes from delivering it, too.
        alive: the run is running.
        tried: when the last attempt began.
        future: the attempt under way.
        not_before, pause: when the next attempt may be made, and how long the next pause is.
        beat: when a running run is delivered again.
        failed: failed attempts since the last successful one.
        given_up: the tracker refused for good, or there were enough attempts.
        more: the last attempt stopped before the end, to let others have their turn.
        last: the run goes to the end of those that wait for its server.
        seen: what the journal had at the last successful attempt.
        told: the damage of the journal that was reported.
        noted: the note on the run that was reported.
        lost_at: since when there has been no journal.
        displaced: it belongs to another process now: the run was resumed with other credentials, or
            the lock's file was deleted.
        resumed: the run was over, and is running again.
    """

    delivery: Delivery
    place: CircuitBreaker
    lock: Lock
    alive: bool
    tried: float = 0.0
    future: Future[None] | None = None
    not_before: float = 0.0
    beat: float = 0.0
    pause: float = PAUSE
    failed: int = 0
    given_up: bool = False
    more: bool = False
    last: bool = False
    seen: tuple[int, bool] | None = None
    told: str | None = None
    noted: str | None = None
    lost_at: float | None = None
    displaced: bool = False
    resumed: bool = False
    _extent: tuple[int, bool] = (0, False)

    def look(self) -> None:
        """Checks the attempt and the journal."""
        if self.future is not None and self.future.done():
            self.future = None
        try:
            self._extent = self.delivery.extent()
            self.lost_at = None
        except OSError:  # it was deleted; a running run restores it
            self.lost_at = self.lost_at or time.monotonic()
        self.resumed = self._extent[1] and not self.alive
        self.alive = self._extent[1]

    @property
    def complete(self) -> bool:
        """Whether the run is over and completely delivered."""
        cursor = self.delivery.cursor
        return self.future is None and cursor.closed and self._extent[0] <= cursor.offset

    def due(self, now: float) -> bool:
        """Returns whether there is something to deliver since the last successful attempt."""
        if self.future is not None or self.given_up or now < self.not_before:
            return False
        if self.lost_at is not None or self.delivery.kept_back():
            return False
        return self._extent != self.seen and (now >= self.beat or not self.alive)

    def let_go(self) -> None:
        """Leaves the delivery to other processes; this may take a while."""
        self.delivery.release()
        self.lock.remove()

    def forget_pauses(self) -> None:
        """Makes the delivery due immediately."""
        self.not_before, self.beat, self.given_up, self.pause = 0.0, 0.0, False, PAUSE
        self.failed = 0
