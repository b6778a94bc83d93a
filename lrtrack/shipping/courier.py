"""The training process's side of delivery: keeps a shipper running for one run.

A shipper process delivers where possible. Trackers that only this process can write to, and
machines where no process can be started, get a thread.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from lrtrack.errors import JournalError, warn
from lrtrack.journal.layout import Layout, touch
from lrtrack.shipping import spawn
from lrtrack.shipping.credentials import Snapshot
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivery import WELL
from lrtrack.shipping.left_runs import LeftRun, left_runs
from lrtrack.shipping.lock import Lock, held
from lrtrack.shipping.process import Shipper
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker

#: Seconds between two checks whether a shipper is running.
CHECK_INTERVAL = 1.0
#: Seconds that a new shipper has to take its lock. On a busy machine, or a slow file system, its
#: imports take long, and another one beside it would make that worse.
START_GRACE = 30.0
#: Seconds that the end of a block waits for a delivery thread.
STOP_TIMEOUT = 0.5
#: How often in a row a shipper process may fail before a thread delivers.
ATTEMPTS = 3


class Courier:
    """Keeps one run's deliveries going, on the side of the training process.

    Args:
        layout: the journal directory.
        run_id: the run.
        objects: trackers that only this process can write to, by name.
        snapshot: the environment in which the run was opened.
    """

    def __init__(
        self, layout: Layout, run_id: str, objects: dict[str, Tracker], snapshot: Snapshot
    ) -> None:
        self._layout = layout
        self._run_id = run_id
        self._objects = objects
        self._snapshot = snapshot
        self._lock = layout.shipper_lock(snapshot.key)
        self._threads: list[tuple[Shipper, threading.Thread]] = []
        self._fallback: threading.Thread | None = None
        self._checked = 0.0
        self._attempts = 0
        self._portable = False

    def start(self, portable: bool) -> None:
        """Starts delivering; `portable` says whether another process can deliver anything."""
        self._clear_errors()
        if self._objects:
            self._start_thread(self._objects.__getitem__, portable=False)
        self._portable = portable
        self.ensure_shipper()

    def _clear_errors(self) -> None:
        """Clears stored errors, so that a resumed run is tried again."""
        for tracker in self._snapshot.trackers:
            path = self._layout.cursor(self._run_id, tracker.name)
            lock = Lock(self._layout.delivery_lock(self._run_id, tracker.name))
            with contextlib.suppress(OSError):
                if path.exists() and lock.acquire():
                    cursor = Cursor.load(path)
                    if cursor.error is not None:
                        replace(cursor, **WELL).save(path)
                    lock.remove()

    def ensure_shipper(self) -> None:
        """Starts a shipper if none is running; cheap enough to be called several times a second."""
        spawn.reap()
        now = time.monotonic()
        if not self._portable or now - self._checked < CHECK_INTERVAL:
            return
        self._checked = now
        if self._fallback is not None and self._fallback.is_alive():
            return
        if held(self._lock):
            spawn.starting.pop(self._lock, None)
            self._attempts = 0
            return
        started = spawn.starting.get(self._lock, -START_GRACE)
        if (spawn.children or spawn.orphans) and now - started < START_GRACE:
            return  # it is still starting, for this run or an earlier one
        if not os.access(self._layout.root, os.W_OK | os.X_OK):
            return  # deleted or read-only: the state of a delivery could not be stored
        if self._attempts < ATTEMPTS and spawn.launch(self._layout, self._snapshot):
            self._attempts += 1
            spawn.starting[self._lock] = time.monotonic()  # starting it may take a while, too
            return
        self._start_fallback_thread()

    def changed_credentials(self) -> str:
        """Returns a sentence on credentials that were set since the run was opened, else ""."""
        before = self._snapshot.credentials
        now = Snapshot.take(self._snapshot.trackers).credentials
        names = [name for name, text in now.items() if before.get(name) != text]
        verb, pronoun = ("was", "it") if len(names) == 1 else ("were", "them")
        sentence = f"{' and '.join(names)} {verb} set since the run began; `lrtrack sync` will use "
        return sentence + pronoun if names else ""

    def ensure_queued(self) -> None:
        """Puts the run back into the queue if its marker was deleted during the training."""
        marker = self._layout.marker(self._run_id)
        if self._portable and not marker.exists():
            with contextlib.suppress(JournalError, OSError):
                self._layout.create()
                touch(marker)

    def _start_fallback_thread(self) -> None:
        """Delivers this run from a thread; shipper processes then leave it alone."""
        if self._fallback is None:
            warn(
                "lrtrack cannot start its shipper process. A thread uploads this run instead, "
                "which slows training a little."
            )
        self._fallback = self._start_thread(registry.get, portable=True)

    def left_runs(self) -> Iterator[LeftRun]:
        """Yields runs that other machines have left here and that no shipper of these credentials
        takes over.
        """
        return left_runs(self._layout, self._snapshot.key)

    def wake_shipper(self) -> None:
        """Makes the shipper look at the queue now."""
        with contextlib.suppress(OSError):
            touch(self._layout.wake)

    def stop(self) -> None:
        """Stops this process's own delivery threads; undelivered records stay in the journal.

        A thread that waits for a server's answer ends when the answer arrives; it is not waited for
        longer than `STOP_TIMEOUT`.
        """
        for shipper, _ in self._threads:
            shipper.stop()
        deadline = time.monotonic() + STOP_TIMEOUT
        for _, thread in self._threads:
            if thread.ident is not None:  # otherwise an interrupt prevented its start
                thread.join(max(0.0, deadline - time.monotonic()))
        self._threads.clear()

    def _start_thread(self, trackers: Callable[[str], Tracker], portable: bool) -> threading.Thread:
        shipper = Shipper(
            self._layout,
            trackers,
            only=self._run_id,
            serves=lambda target: target.portable is portable,
            idle=float("inf"),
            patience=float("inf"),
        )
        thread = threading.Thread(target=shipper.run, name="lrtrack-shipper", daemon=True)
        self._threads.append((shipper, thread))  # before the start, so that it is always stopped
        thread.start()
        return thread
