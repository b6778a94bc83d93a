"""What a shipper has at hand: of a long queue, living runs and a few that are over a place."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from lrtrack.errors import ForeignJournal, LRTrackError
from lrtrack.journal.layout import Layout, host
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Target
from lrtrack.shipping.backlog import Backlog
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivery import Delivery
from lrtrack.shipping.job import Job
from lrtrack.shipping.places import Place
from lrtrack.trackers.base import Tracker

#: Seconds after which nobody waits any more for a journal to be put back.
LOST = 10.0
#: Attempts in a row that came to nothing, after which one who tries once only leaves a place.
ENOUGH = 16


class Hand:
    """Takes runs up from the queue, and puts them away; for the arguments see `Shipper`.

    Attributes:
        jobs: deliveries at hand, by run and tracker.
        places: where they go.
        backlog: what of the queue is still to be looked at.
        over: the one run of this hand, if it has only one, is settled.
    """

    def __init__(
        self,
        layout: Layout,
        trackers: Callable[[str], Tracker],
        only: str | None,
        serves: Callable[[Target], bool],
        once: bool,
        log: Callable[[str], None],
    ) -> None:
        self.jobs: dict[tuple[str, str], Job] = {}
        self.places: dict[tuple[str, str | None], Place] = {}
        self.backlog = Backlog(layout, only)
        self.over = False
        self._layout = layout
        self._trackers = trackers
        self._only = only
        self._serves = serves
        self._once = once
        self._log = log
        self._owed: dict[str, set[str]] = {}  # run → trackers that have not all of it
        self._left: set[str] = set()

    @property
    def waiting(self) -> bool:
        """Whether runs wait that there is room for."""
        room = any(place.waiting and place.room for place in self.places.values())
        return room or bool(self.backlog)

    def try_again(self) -> None:
        """Forget all pauses and refusals."""
        self.backlog.again(self._left)
        self._left = set()
        for place in self.places.values():
            place.answered()
        for job in self.jobs.values():
            job.forget_pauses()

    def take_up(self) -> None:
        """Take up what is new in the queue, and what there is room for."""
        self.backlog.look()
        for run_id in self.backlog.take():
            self._take(run_id)
        for place in self.places.copy().values():
            if self._once and place.unanswered >= ENOUGH:
                place.waiting.clear()  # one attempt at each would take hours, and tell nothing new
            for run_id in place.next():
                self._take(run_id)

    def _take(self, run_id: str) -> None:
        self._left.discard(run_id)
        try:
            reader = JournalReader(self._layout.journal(run_id))
            run, alive = reader.run, reader.alive()
        except (LRTrackError, OSError) as error:
            foreign = isinstance(error, ForeignJournal)  # which waiting does not change
            if self._once or foreign or not self.backlog.may_come(run_id):
                self._left.add(run_id)
                self._log(f"{run_id}: left alone: {error}")
            return
        if self._only is None and not self._once and run.host not in ("", host()):
            return  # of another machine, whose own shipper serves it
        delivers, owed = False, self._owed.setdefault(run_id, set())
        for target in filter(self._serves, run.targets):
            if (run_id, target.tracker) in self.jobs:
                continue
            owed.discard(target.tracker)
            try:
                delivery = Delivery(self._layout, run_id, target, self._trackers(target.tracker))
                needed = delivery.needed and not delivery.complete
            except (LRTrackError, OSError) as error:
                owed.add(target.tracker)
                self._leave(run_id, target, error)
                continue
            delivers = delivers or delivery.needed
            if needed:
                owed.add(target.tracker)
                self._have(delivery, alive)
        self.settle(run_id, delivers)

    def _have(self, delivery: Delivery, alive: bool) -> None:
        """Have a delivery at hand, or let it wait for room."""
        target, run_id = delivery.target, delivery.run_id
        place = self.places.setdefault((target.tracker, target.uri), Place())
        place.waiting.pop(run_id, None)
        if alive or place.room:
            self.jobs[run_id, target.tracker] = Job(delivery, place, alive)
            place.over += not alive
        else:
            place.waiting[run_id] = None

    def _leave(self, run_id: str, target: Target, error: Exception) -> None:
        """Leave a delivery that cannot even begin, with word of it for those who wait."""
        self._left.add(run_id)
        path = self._layout.cursor(run_id, target.tracker)
        cursor = Cursor.load(path)
        cursor.error, cursor.given_up, cursor.failures = str(error), True, cursor.failures + 1
        with contextlib.suppress(OSError):
            cursor.save(path)
        self._log(f"{run_id}: not to {target.tracker}: {error}")

    def count(self) -> None:
        """See how all that is at hand stands."""
        for place in self.places.values():
            place.over = place.living = place.busy = 0
        for job in self.jobs.values():
            job.look()
            job.place.living += job.alive
            job.place.over += not job.alive
            job.place.busy += not job.alive and job.future is not None

    def put_away(self, key: tuple[str, str], let_go: Callable[[Delivery], object]) -> None:
        """Put a job away that is done, or that others must not wait for.

        Args:
            key: its run and tracker.
            let_go: releases a delivery, which may take a while.
        """
        job, (run_id, tracker) = self.jobs[key], key
        if job.future is not None:
            return
        if job.complete:
            self._owed.get(run_id, set()).discard(tracker)
        elif job.lost_at is not None and self._only is None:
            if time.monotonic() - job.lost_at < LOST:
                return
            let_go(job.delivery)
            self._left.add(run_id)
            self._log(f"{run_id}: left alone: its journal is gone")
        elif job.given_up and not job.alive:
            let_go(job.delivery)
            self._left.add(run_id)
        elif job.last and not job.alive:
            job.place.waiting[run_id] = None
        else:
            return
        del self.jobs[key]
        job.place.over -= not job.alive
        self.settle(run_id)

    def settle(self, run_id: str, delivers: bool = True) -> None:
        """Take a run off the queue once no tracker waits for anything of it.

        Args:
            delivers: there was, or will be if the run goes on, something to deliver.
        """
        if self._owed.get(run_id):
            return
        self._owed.pop(run_id, None)
        if self._only is not None:
            self.over = True
            return
        marker = self._layout.marker(run_id)
        # A process that resumes the run opens its journal first and queues it then: either it is
        # seen to be at work here, or what it queues comes after.
        with contextlib.suppress(LRTrackError, OSError):
            marker.unlink(missing_ok=True)
            if delivers and JournalReader(self._layout.journal(run_id)).alive():
                marker.touch(mode=0o600)
