"""The shipper: delivers the undelivered runs of one journal directory, then exits.

There is one for each machine, directory and set of credentials. It holds a lock while it lives and
serves the runs that were opened with those credentials: running ones as they write, finished ones
to their end. While `lrtrack sync` is working, finished runs are left to it. A tracker that does not
answer is tried again after a growing pause, while other runs continue. Of a long queue, only as
much is open as can be served: running runs, and a few finished ones for each server.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lrtrack.errors import DiskTrouble, PartUnavailable, TrackerError, TrackerUnavailable
from lrtrack.journal.layout import Layout
from lrtrack.records import Target
from lrtrack.redaction import redact
from lrtrack.shipping.circuit_breaker import LONGEST_PAUSE, PATIENT, PAUSE
from lrtrack.shipping.lock import held
from lrtrack.shipping.run_queue import Admit, RunQueue, anything
from lrtrack.shipping.scheduled_delivery import ScheduledDelivery
from lrtrack.trackers.base import Tracker
from lrtrack.trackers.hooks import KeepsProcesses

#: Seconds between two checks of the directory.
PERIOD = 0.1
#: Seconds between two deliveries of a running run: many small ones would take CPU time from the
#: training.
BEAT = 1.0
#: Attempts of a process that does not stay, such as `lrtrack sync`.
ATTEMPTS = 3
#: Runs delivered at the same time, most of which wait for their tracker, and how many of them may
#: be finished ones, so that a new run always finds a free worker.
WORKERS, OVER = 16, 12
#: Seconds after which a finished run lets others have their turn.
TURN = 1.0

# Separate, because in a thread of the training process nothing may advance its random state.
_jitter = random.Random()  # noqa: S311


class Shipper:
    """The shipper's work; also runs in a thread where no process can be started.

    Args:
        layout: the journal directory.
        trackers: finds a tracker by name.
        only: serve this run alone, and leave the queue to others; None: all queued runs.
        serves: which targets are this shipper's.
        once: a few attempts at each finished run of any machine, then exit.
        key: serve runs of these credentials alone; None: any.
        admit: how this process may deliver a run to a target, if at all.
        idle: exit after this many seconds without work.
        stays: whether the directory is still this shipper's to serve.
        patience: exit after this many seconds in which no tracker took anything and no run lived.
        log: takes one line of text per message.
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
        self._trackers: dict[str, Tracker] = {}

        def remembered(name: str) -> Tracker:
            self._trackers[name] = trackers(name)
            return self._trackers[name]

        self._queue = RunQueue(layout, remembered, only, serves, once, log, key, admit)
        self._moved_at = 0.0
        self._stopped = False
        self._woken = 0.0

    def stop(self) -> None:
        """Asks `run` to return soon; attempts under way are finished."""
        self._stopped = True

    def run(self) -> None:
        """Delivers until there has been nothing to do for a while."""
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="lrtrack-ship") as pool:
            try:
                self._work(pool)
            finally:  # before the pool waits for its threads, which may wait for a tracker
                for job in self._queue.deliveries.values():
                    job.delivery.release()
        for job in self._queue.deliveries.values():
            job.lock.remove()
        for tracker in self._trackers.values():
            if isinstance(tracker, KeepsProcesses):
                with contextlib.suppress(Exception):  # all is delivered, whatever its bug is
                    tracker.end_processes()

    def _work(self, pool: ThreadPoolExecutor) -> None:
        busy_at = self._moved_at = time.monotonic()
        while not (self._stopped or self._queue.over) and self._stays():
            self._queue.yielding = self._yields and held(self._layout.sync_lock)
            self._wake_up()
            self._queue.take_up()
            waiting, under_way, living = self._round(pool)
            waiting = waiting or self._queue.waiting or (self._once and self._queue.expecting)
            if self._once and not (waiting or under_way):
                return
            now = time.monotonic()
            busy_at = now if waiting or living or self._queue.yielding else busy_at
            self._moved_at = now if living else self._moved_at
            if now - busy_at > self._idle or now - self._moved_at > self._patience:
                return
            time.sleep(PERIOD)

    def _round(self, pool: ThreadPoolExecutor) -> tuple[bool, bool, bool]:
        """Starts what can be started.

        Returns:
            Whether something waits, whether an attempt is under way, whether some run is running.
        """
        queue = self._queue
        queue.count()
        for key in list(queue.deliveries):
            queue.put_away(key, lambda job: pool.submit(job.let_go))
        now = time.monotonic()
        waiting = under_way = living = False
        # Running runs first, then the longest waiting: one server may answer where another fails.
        for job in sorted(queue.deliveries.values(), key=lambda job: (not job.alive, job.tried)):
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
        """Returns whether a worker is free for it; one is enough at a server that also has a
        running run.
        """
        if job.alive or self._once:
            return True
        if job.place.living and job.place.busy:
            return False
        return sum(place.busy for place in self._queue.breakers.values()) < OVER

    def _wake_up(self) -> None:
        """Forgets all pauses and refusals if another process asked for another attempt."""
        try:
            woken = self._layout.wake.stat().st_mtime
        except OSError:
            return
        if woken != self._woken:
            self._woken = woken
            self._queue.try_again()

    def _serve(self, job: ScheduledDelivery) -> None:
        """Advances one run as far as it goes, or for as long as its turn lasts."""
        if not self._once and time.monotonic() < job.place.not_before:
            return  # others have found out meanwhile that the server does not answer
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
            self._report_note(job)
            self._report_missing(job)
            job.seen, job.beat = extent, self._moved_at + BEAT
        except TrackerUnavailable as error:
            self._later(job, error)
        except Exception as error:
            # A tracker's own bug must not stop the other runs' deliveries.
            final = error if isinstance(error, TrackerError) else TrackerError(redact(repr(error)))
            job.given_up = True
            job.delivery.note(final, final=True)
            self._log(f"{job.delivery.run_id}: given up: {final}")

    def _keeps(self, job: ScheduledDelivery) -> bool:
        """Returns whether the delivery still belongs to this process."""
        job.displaced = job.displaced or not job.lock.kept()
        return self._stays() and not job.displaced

    def _later(self, job: ScheduledDelivery, error: TrackerUnavailable) -> None:
        job.delivery.note(error, final=False)
        now = time.monotonic()
        if not isinstance(error, DiskTrouble | PartUnavailable):  # nor is it the tracker's fault
            job.place.failed(now, error.retry_after)
        pause = error.retry_after or job.pause * _jitter.uniform(0.8, 1.2)
        job.not_before = now + min(pause, PATIENT)
        job.failed += 1
        job.given_up = self._once and job.failed >= ATTEMPTS
        job.pause = min(job.pause * 2, LONGEST_PAUSE)
        self._log(f"{job.delivery.run_id}: {error}; next attempt in {pause:.1f} s")
        # Other runs may be answered where this one is not.
        if not (job.alive or self._once) and job.place.waiting:
            job.delivery.release()
            job.last = True

    def _tell_damage(self, job: ScheduledDelivery) -> None:
        damage = job.delivery.damage
        if damage is not None and damage != job.told:
            job.told = damage
            self._log(f"{job.delivery.run_id}: its journal is {damage}; the rest is delivered")

    def _report_note(self, job: ScheduledDelivery) -> None:
        note = job.delivery.cursor.note
        if note is not None and note != job.noted:
            job.noted = note
            self._log(f"{job.delivery.run_id}: {note}")

    def _report_missing(self, job: ScheduledDelivery) -> None:
        missing = job.delivery.cursor.missing
        if missing is not None and job.delivery.cursor.closed:
            self._log(f"{job.delivery.run_id}: ended without {missing}")

    def _went_well(self, job: ScheduledDelivery) -> None:
        job.pause, job.failed = PAUSE, 0
        job.place.answered()
        self._moved_at = time.monotonic()
