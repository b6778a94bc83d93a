"""The shipper: delivers every undelivered run of one journal directory, then goes.

One a machine and directory: it holds a lock while it lives. It serves living runs as they write,
and dead ones to their end. A tracker that does not answer is asked again after a growing pause,
while the other runs go on. Of a long queue it has no more at hand than it can serve: living runs,
and a few of those that are over for each place.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lrtrack.errors import DiskTrouble, LRTrackError, TrackerError, TrackerUnavailable
from lrtrack.journal.layout import Layout, host
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Target
from lrtrack.settings import redact
from lrtrack.shipping.backlog import Backlog
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivery import Delivery
from lrtrack.shipping.job import Job
from lrtrack.shipping.places import LONGEST_PAUSE, PATIENT, PAUSE, Place
from lrtrack.trackers.base import Tracker

#: Seconds between two looks at the directory.
PERIOD = 0.1
#: Seconds between two deliveries of a living run: many small ones would take the processor's time
#: from the training.
BEAT = 1.0
#: Runs delivered at the same time, most of which wait for their tracker; and how many of them may
#: be over, so that one that begins now finds somebody free.
WORKERS, OVER = 16, 12
#: Seconds after which a run that is over lets others have their turn.
TURN = 1.0
#: Seconds after which nobody waits any more for a journal to be put back.
LOST = 10.0

# Of its own: as a thread of the training process, nothing may move the training's random state.
_jitter = random.Random()  # noqa: S311


class Shipper:
    """The work of the shipper process; also runs in a thread where no process can.

    Args:
        layout: the journal directory.
        trackers: finds a tracker by name.
        only: serve this run alone, and leave the queue to others; None: all that are queued.
        serves: which targets are this shipper's.
        once: one attempt at each run of any machine, then leave; runs that live are not waited for.
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
        stays: Callable[[], bool] = lambda: True,
        idle: float = 5.0,
        patience: float = 600.0,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._layout = layout
        self._trackers = trackers
        self._only = only
        self._serves = serves
        self._once = once
        self._stays = stays
        self._idle = idle
        self._patience = patience
        self._log = log
        self._jobs: dict[tuple[str, str], Job] = {}
        self._places: dict[tuple[str, str | None], Place] = {}
        self._owed: dict[str, set[str]] = {}  # run → trackers that have not all of it
        self._backlog = Backlog(layout, only)
        self._moved_at = 0.0
        self._left: set[str] = set()
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
                for job in self._jobs.values():
                    job.delivery.release()

    def _work(self, pool: ThreadPoolExecutor) -> None:
        busy_at = self._moved_at = time.monotonic()
        while not self._stopped and self._stays():
            self._wake_up()
            self._take_up()
            waiting, under_way, living = self._round(pool)
            room = any(place.waiting and place.room for place in self._places.values())
            waiting = waiting or room or bool(self._backlog)
            if self._once and not (under_way or room or self._backlog):
                return
            now = time.monotonic()
            busy_at = now if waiting or living else busy_at
            self._moved_at = now if living else self._moved_at
            if now - busy_at > self._idle or now - self._moved_at > self._patience:
                return
            time.sleep(PERIOD)

    def _round(self, pool: ThreadPoolExecutor) -> tuple[bool, bool, bool]:
        """Start what can be started.

        Returns:
            Whether something waits, whether an attempt is under way, whether some run lives.
        """
        self._count()
        for key in list(self._jobs):
            self._put_away(key, pool)
        now = time.monotonic()
        waiting = under_way = living = False
        # Living runs first, then who has waited longest: another may be answered where one is not.
        for job in sorted(self._jobs.values(), key=lambda job: (not job.alive, job.tried)):
            if (self._once or job.place.admits(now)) and self._free(job) and job.due(now):
                job.tried = now
                job.future = job.place.probe = pool.submit(self._serve, job)
                job.place.busy += not job.alive
            held_up = max(job.not_before, job.place.not_before) > now or job.lost_at is not None
            waiting = waiting or job.future is not None or (held_up and not job.given_up)
            under_way = under_way or job.future is not None or (job.more and not job.given_up)
            living = living or job.alive
        return waiting, under_way, living

    def _count(self) -> None:
        for place in self._places.values():
            place.over = place.living = place.busy = 0
        for job in self._jobs.values():
            job.look()
            job.place.living += job.alive
            job.place.over += not job.alive
            job.place.busy += not job.alive and job.future is not None

    def _free(self, job: Job) -> bool:
        """Whether there is a worker for it: one at a place where a living run is served, too."""
        if job.alive or self._once:
            return True
        if job.place.living and job.place.busy:
            return False
        return sum(place.busy for place in self._places.values()) < OVER

    def _put_away(self, key: tuple[str, str], pool: ThreadPoolExecutor) -> None:
        """Let go of a job that is done, or that others must not wait for."""
        job, (run_id, tracker) = self._jobs[key], key
        if job.future is not None:
            return
        if job.complete:
            self._owed.get(run_id, set()).discard(tracker)
        elif job.lost_at is not None and self._only is None:
            if time.monotonic() - job.lost_at < LOST:
                return
            pool.submit(job.delivery.release)
            self._left.add(run_id)
            self._log(f"{run_id}: left alone: its journal is gone")
        elif job.given_up and not job.alive:
            pool.submit(job.delivery.release)
            self._left.add(run_id)
        elif job.last and not job.alive:
            job.place.waiting[run_id] = None
        else:
            return
        del self._jobs[key]
        job.place.over -= not job.alive
        self._settle(run_id)

    def _wake_up(self) -> None:
        """Forget all pauses and refusals where somebody asked for another attempt."""
        try:
            woken = self._layout.wake.stat().st_mtime
        except OSError:
            return
        if woken != self._woken:
            self._woken = woken
            self._backlog.again(self._left)
            self._left = set()
            for place in self._places.values():
                place.answered()
            for job in self._jobs.values():
                job.forget_pauses()

    def _take_up(self) -> None:
        self._backlog.look()
        for run_id in self._backlog.take():
            self._take(run_id)
        for place in self._places.copy().values():
            if self._once and place.unanswered >= WORKERS:
                place.waiting.clear()  # one attempt at each would take hours, and tell nothing new
            for run_id in place.next():
                self._take(run_id)

    def _take(self, run_id: str) -> None:
        self._left.discard(run_id)
        try:
            reader = JournalReader(self._layout.journal(run_id))
            run, alive = reader.run, reader.alive()
        except (LRTrackError, OSError) as error:
            if self._once or not self._backlog.may_come(run_id):
                self._left.add(run_id)
                self._log(f"{run_id}: left alone: {error}")
            return
        if self._only is None and not self._once and run.host not in ("", host()):
            return  # of another machine, whose own shipper serves it
        delivers, owed = False, self._owed.setdefault(run_id, set())
        for target in filter(self._serves, run.targets):
            if (run_id, target.tracker) in self._jobs:
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
        self._settle(run_id, delivers)

    def _have(self, delivery: Delivery, alive: bool) -> None:
        """Have a delivery at hand, or let it wait for room."""
        target, run_id = delivery.target, delivery.run_id
        place = self._places.setdefault((target.tracker, target.uri), Place())
        place.waiting.pop(run_id, None)
        if alive or place.room:
            self._jobs[run_id, target.tracker] = Job(delivery, place, alive)
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

    def _serve(self, job: Job) -> None:
        """Advance one run as far as it goes, or as its turn lasts."""
        if not self._once and time.monotonic() < job.place.not_before:
            return  # others found out meanwhile that nobody answers there
        job.more = False
        try:
            extent, until = job.delivery.extent(), time.monotonic() + TURN
            while self._stays() and job.delivery.advance():
                self._went_well(job)
                if not job.alive and time.monotonic() > until:
                    job.more = True
                    return
            self._went_well(job)
            job.seen, job.beat = extent, self._moved_at + BEAT
        except TrackerUnavailable as error:
            self._later(job, error)
        except Exception as error:
            # A tracker's own bug must not take the other runs' deliveries with it.
            final = error if isinstance(error, TrackerError) else TrackerError(redact(repr(error)))
            job.given_up = True
            job.delivery.note(final, final=True)
            self._log(f"{job.delivery.run_id}: given up: {final}")

    def _later(self, job: Job, error: TrackerUnavailable) -> None:
        job.delivery.note(error, final=False)
        now = time.monotonic()
        if not isinstance(error, DiskTrouble):
            job.place.failed(now, error.retry_after)
        pause = error.retry_after or job.pause * _jitter.uniform(0.8, 1.2)
        job.not_before = now + min(pause, PATIENT)
        job.given_up = self._once
        job.pause = min(job.pause * 2, LONGEST_PAUSE)
        self._log(f"{job.delivery.run_id}: {error}; next attempt in {pause:.1f} s")
        if not job.alive and job.place.waiting:  # others may be answered where this one is not
            job.delivery.release()
            job.last = True

    def _went_well(self, job: Job) -> None:
        job.pause = PAUSE
        job.place.answered()
        self._moved_at = time.monotonic()

    def _settle(self, run_id: str, delivers: bool = True) -> None:
        """Take a run off the queue once no tracker waits for anything of it.

        Args:
            delivers: there was, or will be if the run goes on, something to deliver.
        """
        if self._owed.get(run_id):
            return
        self._owed.pop(run_id, None)
        if self._only is not None:
            self._stopped = True
            return
        marker = self._layout.marker(run_id)
        # A process that resumes the run opens its journal first and queues it then: either it is
        # seen to be at work here, or what it queues comes after.
        with contextlib.suppress(OSError):
            marker.unlink(missing_ok=True)
            if delivers and JournalReader(self._layout.journal(run_id)).alive():
                marker.touch(mode=0o600)
