"""The shipper: delivers every undelivered run of one journal directory, then goes.

One a machine and directory: it holds a lock while it lives. It serves living runs as they write,
and dead ones to their end. A tracker that does not answer is asked again after a growing pause,
while the other runs go on.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from lrtrack.errors import LRTrackError, TrackerError, TrackerUnavailable
from lrtrack.journal.layout import Layout, host
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Target
from lrtrack.settings import redact
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivery import Delivery
from lrtrack.shipping.places import LONGEST_PAUSE, PATIENT, PAUSE, Place
from lrtrack.trackers.base import Tracker

#: Seconds between two looks at the directory.
PERIOD = 0.1
#: Seconds between two deliveries of a living run: many small ones would take the processor's time
#: from the training.
BEAT = 1.0
#: Attempts of somebody who does not stay, such as `lrtrack sync`.
ATTEMPTS = 3
#: Runs delivered at the same time; most of them wait for their tracker.
WORKERS = 16

# Of its own: as a thread of the training process, nothing may move the training's random state.
_jitter = random.Random()  # noqa: S311


@dataclass
class _Job:
    """One run towards one tracker, between its attempts."""

    delivery: Delivery
    place: Place
    tried: float = 0.0
    future: Future[None] | None = None
    not_before: float = 0.0
    beat: float = 0.0
    pause: float = PAUSE
    failed: int = 0
    given_up: bool = False
    seen: tuple[int, bool] | None = None
    told: str | None = None

    def due(self, now: float) -> bool:
        """Whether there is something to deliver since the last attempt that went well."""
        if self.given_up or now < self.not_before or self.delivery.kept_back():
            return False
        extent = self.delivery.extent()
        _, alive = extent
        return extent != self.seen and (now >= self.beat or not alive)


class Shipper:
    """The work of the shipper process; also runs in a thread where no process can.

    Args:
        layout: the journal directory.
        trackers: finds a tracker by name.
        only: serve this run alone, and leave the queue to others; None: all that are queued.
        serves: which targets are this shipper's.
        once: a few attempts at each run of any machine, then leave; runs that live are not waited
            for.
        idle: leave after this many seconds without anything to do.
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
        idle: float = 5.0,
        patience: float = 600.0,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._layout = layout
        self._trackers = trackers
        self._only = only
        self._serves = serves
        self._once = once
        self._idle = idle
        self._patience = patience
        self._log = log
        self._jobs: dict[tuple[str, str], _Job] = {}
        self._places: dict[tuple[str, str | None], Place] = {}
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
        while not self._stopped:
            self._wake_up()
            self._take_up()
            waiting = self._round(pool)
            if self._once and not waiting:
                return
            now = time.monotonic()
            living = any(job.delivery.alive() for job in self._jobs.values())
            busy_at = now if waiting or living else busy_at
            self._moved_at = now if living else self._moved_at
            if now - busy_at > self._idle or now - self._moved_at > self._patience:
                return
            time.sleep(PERIOD)

    def _round(self, pool: ThreadPoolExecutor) -> bool:
        """Start what can be started; whether an attempt is under way, or to be made again."""
        waiting = False
        now = time.monotonic()
        # who has waited longest first: another run may be answered where one is not
        for key, job in sorted(self._jobs.items(), key=lambda item: item[1].tried):
            if job.future is not None and job.future.done():
                job.future = None
            if job.future is None and job.delivery.complete:
                del self._jobs[key]
                self._settle(key[0])
                continue
            if job.future is None and (self._once or job.place.admits(now)) and job.due(now):
                job.tried = now
                job.future = job.place.probe = pool.submit(self._serve, job)
            held_up = max(job.not_before, job.place.not_before) > now
            waiting = waiting or job.future is not None or (held_up and not job.given_up)
        return waiting

    def _wake_up(self) -> None:
        """Forget all pauses and refusals where somebody asked for another attempt."""
        try:
            woken = self._layout.wake.stat().st_mtime
        except OSError:
            return
        if woken != self._woken:
            self._woken = woken
            self._left.clear()
            for place in self._places.values():
                place.answered()
            for job in self._jobs.values():
                job.not_before, job.beat, job.given_up, job.pause = 0.0, 0.0, False, PAUSE

    def _take_up(self) -> None:
        queued = self._layout.queued() if self._only is None else [self._only]
        taken = {run_id for run_id, _ in self._jobs} | self._left
        for run_id in queued:
            if run_id not in taken:
                self._take(run_id)

    def _take(self, run_id: str) -> None:
        try:
            run = JournalReader(self._layout.journal(run_id)).run
        except LRTrackError as error:
            self._left.add(run_id)
            self._log(f"{run_id}: left alone: {error}")
            return
        if self._only is None and not self._once and run.host not in ("", host()):
            return  # of another machine, whose own shipper serves it
        delivers = False
        for target in filter(self._serves, run.targets):
            try:
                delivery = Delivery(self._layout, run_id, target, self._trackers(target.tracker))
            except LRTrackError as error:
                self._leave(run_id, target, error)
                continue
            delivers = delivers or delivery.needed
            if delivery.needed and not delivery.complete:
                place = self._places.setdefault((target.tracker, target.uri), Place())
                self._jobs[run_id, target.tracker] = _Job(delivery, place)
        self._settle(run_id, delivers)

    def _leave(self, run_id: str, target: Target, error: LRTrackError) -> None:
        """Leave a delivery that cannot even begin, with word of it for those who wait."""
        self._left.add(run_id)
        path = self._layout.cursor(run_id, target.tracker)
        cursor = Cursor.load(path)
        cursor.error, cursor.given_up, cursor.failures = str(error), True, cursor.failures + 1
        cursor.save(path)
        self._log(f"{run_id}: not to {target.tracker}: {error}")

    def _serve(self, job: _Job) -> None:
        """Advance one run as far as it goes."""
        if not self._once and time.monotonic() < job.place.not_before:
            return  # others found out meanwhile that nobody answers there
        try:
            extent = job.delivery.extent()
            while job.delivery.advance():
                self._went_well(job)
            self._went_well(job)
            self._tell_damage(job)
            job.seen, job.beat = extent, self._moved_at + BEAT
        except TrackerUnavailable as error:
            job.delivery.note(error, final=False)
            job.place.failed(time.monotonic(), error.retry_after)
            pause = error.retry_after or job.pause * _jitter.uniform(0.8, 1.2)
            job.not_before = time.monotonic() + min(pause, PATIENT)
            job.failed += 1
            job.given_up = self._once and job.failed >= ATTEMPTS
            job.pause = min(job.pause * 2, LONGEST_PAUSE)
            self._log(f"{job.delivery.run_id}: {error}; next attempt in {pause:.1f} s")
        except Exception as error:
            # A tracker's own bug must not take the other runs' deliveries with it.
            final = error if isinstance(error, TrackerError) else TrackerError(redact(repr(error)))
            job.given_up = True
            job.delivery.note(final, final=True)
            self._log(f"{job.delivery.run_id}: given up: {final}")

    def _tell_damage(self, job: _Job) -> None:
        damage = job.delivery.damage
        if damage is not None and damage != job.told:
            job.told = damage
            self._log(f"{job.delivery.run_id}: its journal is {damage}; the rest is delivered")

    def _went_well(self, job: _Job) -> None:
        job.pause, job.failed = PAUSE, 0
        job.place.answered()
        self._moved_at = time.monotonic()

    def _settle(self, run_id: str, delivers: bool = True) -> None:
        """Take a run off the queue once no tracker waits for anything of it.

        Args:
            delivers: there was, or will be if the run goes on, something to deliver.
        """
        if any(key[0] == run_id for key in self._jobs) or run_id in self._left:
            return
        if self._only is not None:
            self._stopped = True
            return
        marker = self._layout.marker(run_id)
        marker.unlink(missing_ok=True)
        # A process that resumes the run opens its journal first and queues it then: either it is
        # seen to be at work here, or what it queues comes after.
        with contextlib.suppress(OSError):
            if delivers and JournalReader(self._layout.journal(run_id)).alive():
                marker.touch(mode=0o600)
