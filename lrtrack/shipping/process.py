"""The shipper: delivers the undelivered runs of one journal directory, then goes.

One a machine, directory and set of credentials: it holds a lock while it lives, and serves the runs
that were opened with those credentials, living ones as they write, and dead ones to their end. Dead
ones it leaves to `lrtrack sync` while that is at work. A tracker that does not answer is asked
again after a growing pause, while the other runs go on. Of a long queue it has no more at hand than
it can serve: living runs, and a few of those that are over for each place.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lrtrack.errors import DiskTrouble, PartUnavailable, TrackerError, TrackerUnavailable
from lrtrack.journal.layout import Layout
from lrtrack.records import Target
from lrtrack.settings import redact
from lrtrack.shipping.circuit_breaker import LONGEST_PAUSE, PATIENT, PAUSE
from lrtrack.shipping.lock import held
from lrtrack.shipping.run_queue import Admit, RunQueue, anything
from lrtrack.shipping.scheduled_delivery import ScheduledDelivery
from lrtrack.trackers.base import Tracker

#: Seconds between two looks at the directory.
PERIOD = 0.1
#: Seconds between two deliveries of a living run: many small ones would take the processor's time
#: from the training.
BEAT = 1.0
#: Attempts of somebody who does not stay, such as `lrtrack sync`.
ATTEMPTS = 3
#: Runs delivered at the same time, most of which wait for their tracker; and how many of them may
#: be over, so that one that begins now finds somebody free.
WORKERS, OVER = 16, 12
#: Seconds after which a run that is over lets others have their turn.
TURN = 1.0

# Of its own: as a thread of the training process, nothing may move the training's random state.
_jitter = random.Random()  # noqa: S311


class Shipper:
    """The work of the shipper process; also runs in a thread where no process can.

    Args:
        layout: the journal directory.
        trackers: finds a tracker by name.
        only: serve this run alone, and leave the queue to others; None: all that are queued.
        serves: which targets are this shipper's.
        once: a few attempts at each run of any machine that is over, then leave.
        key: serve runs of these credentials alone; None: whatever they are.
        admit: how this process may deliver a run to a target, if at all.
        idle: leave after this many seconds without anything to do.
        stays: whether the directory is still this shipper's to serve.
        patience: leave after this many seconds in which no tracker took anything and no run lived.
        log: takes one line of text a message.
    """

    def __init__(
        self,
        layout: Layout,
        trackers: Callable[[str], Tracker],
        *,
        only: str | None = None,
        serves: Callable[[Target], bool] = lambda target: target.portable,
        once: bool = False,
        key: str | None = None,
        admit: Admit = anything,
        stays: Callable[[], bool] = lambda: True,
        idle: float = 5.0,
        patience: float = 600.0,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._layout = layout
        self._once = once
        self._stays = stays
        self._idle = idle
        self._patience = patience
        self._log = log
        self._yields = only is None and not once
        self._hand = RunQueue(layout, trackers, only, serves, once, log, key, admit)
        self._moved_at = 0.0
        self._stopped = False
        self._woken = 0.0

    def stop(self) -> None:
        """Ask `run` to return soon; what is under way is finished."""
        self._stopped = True

    def run(self) -> None:
        """Deliver until there is nothing left to do for a while."""
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="lrtrack-ship") as pool:
            try:
                self._work(pool)
            finally:  # before the pool waits for its threads, which may wait for a tracker
                for job in self._hand.jobs.values():
                    job.delivery.release()
        for job in self._hand.jobs.values():
            job.lock.remove()

    def _work(self, pool: ThreadPoolExecutor) -> None:
        busy_at = self._moved_at = time.monotonic()
        while not (self._stopped or self._hand.over) and self._stays():
            self._hand.yielding = self._yields and held(self._layout.sync_lock)
            self._wake_up()
            self._hand.take_up()
            waiting, under_way, living = self._round(pool)
            waiting = waiting or self._hand.waiting or (self._once and self._hand.expecting)
            if self._once and not (waiting or under_way):
                return
            now = time.monotonic()
            busy_at = now if waiting or living or self._hand.yielding else busy_at
            self._moved_at = now if living else self._moved_at
            if now - busy_at > self._idle or now - self._moved_at > self._patience:
                return
            time.sleep(PERIOD)

    def _round(self, pool: ThreadPoolExecutor) -> tuple[bool, bool, bool]:
        """Start what can be started.

        Returns:
            Whether something waits, whether an attempt is under way, whether some run lives.
        """
        hand = self._hand
        hand.count()
        for key in list(hand.jobs):
            hand.put_away(key, lambda job: pool.submit(job.let_go))
        now = time.monotonic()
        waiting = under_way = living = False
        # Living runs first, then who has waited longest: another may be answered where one is not.
        for job in sorted(hand.jobs.values(), key=lambda job: (not job.alive, job.tried)):
            if (self._once or job.place.admits(now)) and self._free(job) and job.due(now):
                job.tried = now
                job.future = job.place.probe = pool.submit(self._serve, job)
                job.place.busy += not job.alive
            held_up = max(job.not_before, job.place.not_before) > now or job.lost_at is not None
            waiting = waiting or job.future is not None or (held_up and not job.given_up)
            under_way = under_way or job.future is not None or (job.more and not job.given_up)
            living = living or job.alive
        return waiting, under_way, living

    def _free(self, job: ScheduledDelivery) -> bool:
        """Whether there is a worker for it: one at a place where a living run is served, too."""
        if job.alive or self._once:
            return True
        if job.place.living and job.place.busy:
            return False
        return sum(place.busy for place in self._hand.places.values()) < OVER

    def _wake_up(self) -> None:
        """Forget all pauses and refusals where somebody asked for another attempt."""
        try:
            woken = self._layout.wake.stat().st_mtime
        except OSError:
            return
        if woken != self._woken:
            self._woken = woken
            self._hand.try_again()

    def _serve(self, job: ScheduledDelivery) -> None:
        """Advance one run as far as it goes, or as its turn lasts."""
        if not self._once and time.monotonic() < job.place.not_before:
            return  # others found out meanwhile that nobody answers there
        job.more = False
        try:
            extent, until = job.delivery.extent(), time.monotonic() + TURN
            while self._keeps(job) and job.delivery.advance():
                self._went_well(job)
                if not job.alive and time.monotonic() > until:
                    job.more = True
                    return
            if job.displaced:
                return
            self._went_well(job)
            self._tell_damage(job)
            self._report_missing(job)
            job.seen, job.beat = extent, self._moved_at + BEAT
        except TrackerUnavailable as error:
            self._later(job, error)
        except Exception as error:
            # A tracker's own bug must not take the other runs' deliveries with it.
            final = error if isinstance(error, TrackerError) else TrackerError(redact(repr(error)))
            job.given_up = True
            job.delivery.note(final, final=True)
            self._log(f"{job.delivery.run_id}: given up: {final}")

    def _keeps(self, job: ScheduledDelivery) -> bool:
        """Whether the job is still this process's."""
        job.displaced = job.displaced or not job.lock.kept()
        return self._stays() and not job.displaced

    def _later(self, job: ScheduledDelivery, error: TrackerUnavailable) -> None:
        job.delivery.note(error, final=False)
        now = time.monotonic()
        if not isinstance(error, DiskTrouble | PartUnavailable):  # neither is the tracker's
            job.place.failed(now, error.retry_after)
        pause = error.retry_after or job.pause * _jitter.uniform(0.8, 1.2)
        job.not_before = now + min(pause, PATIENT)
        job.failed += 1
        job.given_up = self._once and job.failed >= ATTEMPTS
        job.pause = min(job.pause * 2, LONGEST_PAUSE)
        self._log(f"{job.delivery.run_id}: {error}; next attempt in {pause:.1f} s")
        # Others may be answered where this one is not.
        if not (job.alive or self._once) and job.place.waiting:
            job.delivery.release()
            job.last = True

    def _tell_damage(self, job: ScheduledDelivery) -> None:
        damage = job.delivery.damage
        if damage is not None and damage != job.told:
            job.told = damage
            self._log(f"{job.delivery.run_id}: its journal is {damage}; the rest is delivered")

    def _report_missing(self, job: ScheduledDelivery) -> None:
        missing = job.delivery.cursor.missing
        if missing is not None and job.delivery.cursor.closed:
            self._log(f"{job.delivery.run_id}: ended without {missing}")

    def _went_well(self, job: ScheduledDelivery) -> None:
        job.pause, job.failed = PAUSE, 0
        job.place.answered()
        self._moved_at = time.monotonic()
