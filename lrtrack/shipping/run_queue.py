"""The runs that a shipper works on: all running ones, and a few finished ones for each server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from lrtrack.errors import ForeignJournal, LRTrackError
from lrtrack.journal.layout import Layout, host, touch
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run, Target
from lrtrack.redaction import redact
from lrtrack.shipping.circuit_breaker import CircuitBreaker
from lrtrack.shipping.credentials import opener
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivery import PASSING, Delivery
from lrtrack.shipping.left_runs import is_left
from lrtrack.shipping.lock import Lock
from lrtrack.shipping.queue_directory import QueueDirectory
from lrtrack.shipping.scheduled_delivery import ScheduledDelivery
from lrtrack.trackers.base import Tracker

#: Seconds after which a missing journal is no longer waited for.
LOST = 10.0
#: Failed attempts in a row after which a process that tries only once leaves a server.
ENOUGH = 16
#: Seconds between two attempts at a run that another process delivers, until a process that tries
#: only once leaves it to that one, and between two looks at a run of another machine.
BUSY, BUSY_ENOUGH, ELSEWHERE = 0.5, 60.0, 10.0

#: Decides how this process may deliver a run to a target; None: not at all.
Admit = Callable[[Run, Target, Tracker], Target | None]


def anything(run: Run, target: Target, tracker: Tracker) -> Target | None:
    """Admits every run, as its target says."""
    return target


class RunQueue:
    """Takes runs from the queue and closes them again; for the arguments see `Shipper`.

    Attributes:
        deliveries: open deliveries, by run and tracker.
        breakers: the circuit breakers of their servers.
        queued: the part of the queue that is still to be checked.
        over: the only run of this queue, if it has only one, has left it.
        yielding: finished runs are left to `lrtrack sync`, which is working.
    """

    def __init__(
        self,
        layout: Layout,
        trackers: Callable[[str], Tracker],
        only: str | None,
        serves: Callable[[Target], bool],
        once: bool,
        log: Callable[[str], None],
        key: str | None = None,
        admit: Admit = anything,
    ) -> None:
        self.deliveries: dict[tuple[str, str], ScheduledDelivery] = {}
        self.breakers: dict[tuple[str, str | None], CircuitBreaker] = {}
        self.queued = QueueDirectory(layout, only)
        self.over = False
        self.yielding = False
        self._layout = layout
        self._trackers = trackers
        self._only = only
        self._serves = serves
        self._once = once
        self._log = log
        self._key = key
        self._admit = admit
        self._busy: dict[tuple[str, str], float] = {}  # run and tracker → since when
        self._owed: dict[str, set[str]] = {}  # run → trackers that do not have all of it
        self._left: set[str] = set()

    @property
    def waiting(self) -> bool:
        """Whether runs wait for which there is room."""
        room = any(place.waiting and place.room for place in self.breakers.values())
        return room or bool(self.queued)

    @property
    def expecting(self) -> bool:
        """Whether another process delivers what this one wants, and will leave it soon."""
        now = time.monotonic()
        return any(now - since < BUSY_ENOUGH for since in self._busy.values())

    def try_again(self) -> None:
        """Forgets all pauses and refusals."""
        self.queued.again(self._left)
        self._left = set()
        for place in self.breakers.values():
            place.answered()
        for job in self.deliveries.values():
            job.forget_pauses()

    def take_up(self) -> None:
        """Opens what is new in the queue, and what there is room for."""
        self.queued.look()
        for run_id in self.queued.take():
            self._take(run_id)
        for place in self.breakers.copy().values():
            if self._once and place.unanswered >= ENOUGH:
                place.waiting.clear()  # one attempt at each would take hours and show nothing new
            for run_id in place.next():
                self._take(run_id)

    def _take(self, run_id: str) -> None:
        self._left.discard(run_id)
        try:
            reader = JournalReader(self._layout.journal(run_id))
            run, alive = reader.run, reader.alive()
        except (LRTrackError, OSError) as error:
            foreign = isinstance(error, ForeignJournal)  # which waiting does not change
            if self._once or foreign or not self.queued.may_come(run_id):
                self._left.add(run_id)
                self._log(f"{run_id}: left alone: {error}")
            return
        if not self._serves_run(run, alive):
            return
        delivers, owed = False, self._owed.setdefault(run_id, set())
        for target in filter(self._serves, run.targets):
            if (run_id, target.tracker) not in self.deliveries:
                owed.discard(target.tracker)
                delivers = self._begin(run, target, alive, owed) or delivers
        self.settle(run_id, delivers)

    def _serves_run(self, run: Run, alive: bool) -> bool:
        """Returns whether this process should deliver `run`, unless its targets forbid it."""
        if self._only is not None:
            return True
        if self._once:
            return not alive  # the process that writes it takes care of its deliveries
        if not (self._opened_for_me(run) or self._takes_over(run, alive)):
            return False  # it belongs to another shipper, or to `lrtrack sync`
        if self.yielding and not alive:
            self.queued.later(run.id, BUSY)
            return False
        return True

    def _opened_for_me(self, run: Run) -> bool:
        """Returns whether a process of this machine with this one's credentials opened `run`."""
        if self._key is None:
            return True
        opened = opener(self._layout, run)
        return opened.host in ("", host()) and opened.key == self._key

    def _takes_over(self, run: Run, alive: bool) -> bool:
        """Returns whether a machine that is gone has left `run`, which had the same credentials."""
        opened = opener(self._layout, run)
        if opened.key != self._key or opened.host in ("", host()):
            return False
        if not alive and is_left(self._layout, run, opened):
            self._log(f"{run.id}: taken over from {opened.host}, which has left it")
            return True
        self.queued.later(run.id, ELSEWHERE)
        return False

    def _begin(self, run: Run, target: Target, alive: bool, owed: set[str]) -> bool:
        """Opens a delivery if it is this process's and there is something to deliver.

        Args:
            owed: gets the tracker's name if it does not have all of the run.

        Returns:
            Whether the tracker takes deliveries.
        """
        key = run.id, target.tracker
        lock = Lock(self._layout.delivery_lock(*key))
        try:
            free = lock.acquire(patience=0.0)
        except OSError as error:
            free = False
            if error.errno not in PASSING:
                owed.add(target.tracker)
                self._leave(run.id, target, error)
                return True
        if not free:
            owed.add(target.tracker)
            self._wait_for(key)
            return True
        self._busy.pop(key, None)
        try:
            tracker = self._trackers(target.tracker)
            admitted = self._admit(run, target, tracker)
            if admitted is None:
                owed.add(target.tracker)
                lock.remove()
                return True
            delivery = Delivery(self._layout, run.id, admitted, tracker)
            needed, takes = delivery.needed and not delivery.complete, delivery.needed
        except (LRTrackError, OSError) as error:
            owed.add(target.tracker)
            self._leave(run.id, target, error)
            lock.remove()
            return False
        if needed:
            owed.add(target.tracker)
        if not needed or not self._have(delivery, lock, alive):
            lock.remove()
        return takes

    def _wait_for(self, key: tuple[str, str]) -> None:
        """Comes back later to a delivery that another process is working on."""
        since = self._busy.setdefault(key, time.monotonic())
        if self._once and time.monotonic() - since > BUSY_ENOUGH:
            self._left.add(key[0])
            self._log(f"{key[0]}: left to another process, which is delivering it")
        else:
            self.queued.later(key[0], BUSY)

    def _have(self, delivery: Delivery, lock: Lock, alive: bool) -> bool:
        """Opens a delivery or lets it wait for room; returns whether it is open."""
        target, run_id = delivery.target, delivery.run_id
        place = self.breakers.setdefault((target.tracker, target.uri), CircuitBreaker())
        place.waiting.pop(run_id, None)
        if alive or place.room:
            scheduled = ScheduledDelivery(delivery, place, lock, alive)
            self.deliveries[run_id, target.tracker] = scheduled
            place.over += not alive
            return True
        place.waiting[run_id] = None
        return False

    def _leave(self, run_id: str, target: Target, error: Exception) -> None:
        """Gives up a delivery that cannot even begin, and stores why."""
        self._left.add(run_id)
        path = self._layout.cursor(run_id, target.tracker)
        cursor = Cursor.load(path)
        cursor.error, cursor.refused = redact(str(error)), None
        cursor.given_up, cursor.failures = True, cursor.failures + 1
        with contextlib.suppress(OSError):
            cursor.save(path)
        self._log(f"{run_id}: not to {target.tracker}: {error}")

    def count(self) -> None:
        """Counts the open deliveries of each server."""
        for place in self.breakers.values():
            place.over = place.living = place.busy = 0
        for job in self.deliveries.values():
            job.look()
            if job.resumed and not self._opened_for_me(job.delivery.run):
                job.displaced = True
            job.place.living += job.alive
            job.place.over += not job.alive
            job.place.busy += not job.alive and job.future is not None

    def put_away(self, key: tuple[str, str], let_go: Callable[[ScheduledDelivery], object]) -> None:
        """Closes a delivery that is done, or that others must not wait for.

        Args:
            key: its run and tracker.
            let_go: releases a delivery, which may take a while.
        """
        job, (run_id, tracker) = self.deliveries[key], key
        if job.future is not None:
            return
        if job.complete:
            self._owed.get(run_id, set()).discard(tracker)
        elif job.lost_at is not None and self._only is None:
            if time.monotonic() - job.lost_at < LOST:
                return
            self._left.add(run_id)
            self._log(f"{run_id}: left alone: its journal is gone")
        elif job.displaced or (self.yielding and not job.alive):
            self.queued.later(run_id, BUSY)
        elif job.given_up and not job.alive:
            self._left.add(run_id)
        elif job.last and not job.alive:
            job.place.waiting[run_id] = None
        else:
            return
        let_go(job)
        del self.deliveries[key]
        job.place.over -= not job.alive
        self.settle(run_id)

    def settle(self, run_id: str, delivers: bool = True) -> None:
        """Takes a run off the queue once no tracker needs any more of it.

        Args:
            delivers: there was something to deliver, or will be if the run continues.
        """
        if self._owed.get(run_id):
            return
        self._owed.pop(run_id, None)
        if self._only is not None:
            self.over = True
            return
        marker = self._layout.marker(run_id)
        # A process that resumes the run opens its journal first and queues it then: either it is
        # seen working here, or it queues the run afterwards.
        with contextlib.suppress(LRTrackError, OSError):
            marker.unlink(missing_ok=True)
            if delivers and JournalReader(self._layout.journal(run_id)).alive():
                touch(marker)
