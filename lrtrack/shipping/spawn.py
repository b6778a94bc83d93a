"""Making sure that somebody ships: a process where possible, else a thread."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from lrtrack.errors import JournalError, warn
from lrtrack.journal.layout import Layout
from lrtrack.shipping.credentials import Snapshot
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivery import WELL
from lrtrack.shipping.lock import Lock, held
from lrtrack.shipping.process import Shipper
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker

#: Seconds after which an idle shipper leaves; the environment may say otherwise.
IDLE = 5.0
IDLE_VARIABLE = "LRTRACK_SHIPPER_IDLE"
#: Seconds between two looks whether the shipper lives, and for a new one to take its lock.
LOOK, GRACE = 1.0, 10.0
#: Seconds that the end of a block waits for a thread to let go.
LEAVE = 0.5
#: A process that fails this often in a row is not tried again.
ATTEMPTS = 3

#: Bytes after which a shipper's log is begun anew, and seconds after which one is deleted.
LOG_SIZE, LOG_AGE = 2**20, 30 * 86400.0

_children: set[int] = set()
#: Shippers that are no children of ours.
_orphans: set[int] = set()
_apart = False
#: Starts what it is given in the background, tells its process id and ends.
_DETACHED = ("/bin/sh", "-c", '"$@" >&2 & echo $!', "sh")
#: When each shipper was started that has not been seen at work yet, by its lock.
_coming: dict[Path, float] = {}


class Courier:
    """Keeps the deliveries of one run going, from the training process.

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
        self._looked = 0.0
        self._attempts = 0
        self._portable = False

    def start(self, portable: bool) -> None:
        """Begin to ship; `portable` says whether there is anything for another process."""
        self._forget_refusals()
        if self._objects:
            self._in_thread(self._objects.__getitem__, portable=False)
        self._portable = portable
        self.look()

    def _forget_refusals(self) -> None:
        """Have a resumed run tried again, whatever its trouble was when it was left."""
        for tracker in self._snapshot.trackers:
            path = self._layout.cursor(self._run_id, tracker.name)
            lock = Lock(self._layout.delivery_lock(self._run_id, tracker.name))
            with contextlib.suppress(OSError):
                if path.exists() and lock.acquire():
                    cursor = Cursor.load(path)
                    if cursor.error is not None:
                        replace(cursor, **WELL).save(path)
                    lock.remove()

    def look(self) -> None:
        """See to it that a shipper lives; cheap enough to be called several times a second."""
        reap()
        now = time.monotonic()
        if not self._portable or now - self._looked < LOOK:
            return
        self._looked = now
        if self._fallback is not None and self._fallback.is_alive():
            return
        if held(self._lock):
            _coming.pop(self._lock, None)
            self._attempts = 0
            return
        if (_children or _orphans) and now - _coming.get(self._lock, -GRACE) < GRACE:
            return  # still coming up, for this run or for one before
        if not os.access(self._layout.root, os.W_OK | os.X_OK):
            return  # deleted or read-only: nothing could be kept of a delivery now
        if self._attempts < ATTEMPTS and launch(self._layout, self._snapshot):
            self._attempts += 1
            _coming[self._lock] = now
            return
        self._fall_back()

    def news(self) -> str:
        """Which credentials this process has got since the run was opened, in words; else empty."""
        before = self._snapshot.credentials
        now = Snapshot.take(self._snapshot.trackers).credentials
        names = [name for name, text in now.items() if before.get(name) != text]
        verb, pronoun = ("was", "it") if len(names) == 1 else ("were", "them")
        said = f"{' and '.join(names)} {verb} set since the run began; `lrtrack sync` will use "
        return said + pronoun if names else ""

    def queue(self) -> None:
        """See to it that the run, which goes on, is queued, whoever deleted what."""
        marker = self._layout.marker(self._run_id)
        if self._portable and not marker.exists():
            with contextlib.suppress(JournalError, OSError):
                self._layout.create()
                marker.touch(mode=0o600)

    def _fall_back(self) -> None:
        """Deliver this run from a thread, which shipper processes leave it to."""
        if self._fallback is None:
            warn(
                "lrtrack cannot start its shipper process; a thread delivers instead, which slows "
                "training a little."
            )
        self._fallback = self._in_thread(registry.get, portable=True)

    def hurry(self) -> None:
        """Make whoever ships look now."""
        with contextlib.suppress(OSError):
            self._layout.wake.touch()

    def stop(self) -> None:
        """End this process's own shipping threads; what they have left stays in the journal.

        One that waits for an answer is not waited for long: it ends when the answer is there.
        """
        for shipper, _ in self._threads:
            shipper.stop()
        deadline = time.monotonic() + LEAVE
        for _, thread in self._threads:
            if thread.ident is not None:  # else an interrupt kept it from being started
                thread.join(max(0.0, deadline - time.monotonic()))
        self._threads.clear()

    def _in_thread(self, trackers: Callable[[str], Tracker], portable: bool) -> threading.Thread:
        shipper = Shipper(
            self._layout,
            trackers,
            only=self._run_id,
            serves=lambda target: target.portable is portable,
            idle=float("inf"),
            patience=float("inf"),
        )
        thread = threading.Thread(target=shipper.run, name="lrtrack-shipper", daemon=True)
        self._threads.append((shipper, thread))  # first, so that it is stopped in any case
        thread.start()
        return thread


def launch(layout: Layout, snapshot: Snapshot) -> bool:
    """Start a shipper process; True where that went well as far as one can see at once.

    It gets a session of its own, so that neither Ctrl-C nor a hang-up of the training's terminal
    ends it, and its output goes to the log beside the journals.

    Args:
        layout: the journal directory.
        snapshot: the variables that it gets, and the credentials whose runs it serves.
    """
    idle = os.environ.get(IDLE_VARIABLE, str(IDLE))
    # -P: the working directory must not be searched for modules, whatever lies there.
    command = [sys.executable, "-P", "-m", "lrtrack.shipping", str(layout.root), idle, snapshot.key]
    environment = {**snapshot.variables, "CUDA_VISIBLE_DEVICES": ""}
    log = _log_of(layout, snapshot.key)
    try:
        if _apart:
            _orphans.add(_orphan(command, environment, log))
        else:
            _children.add(_child(command, environment, log, log))
    except (OSError, ValueError, NotImplementedError):
        return False
    finally:
        os.close(log)
    return True


def stand_apart() -> None:
    """Have this process's shippers be no children of it.

    For processes whose children are killed when they leave, as those of Ray's workers are.
    """
    global _apart
    _apart = True


def _child(command: list[str], environment: Mapping[str, str], out: int, log: int) -> int:
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    return os.posix_spawn(command[0], command, environment, file_actions=files, setsid=True)


def _orphan(command: list[str], environment: Mapping[str, str], log: int) -> int:
    """Start a process whose parent is gone at once; its id."""
    told, tell = os.pipe()
    try:
        shell = _child([*_DETACHED, *command], environment, tell, log)
    finally:
        os.close(tell)
    with os.fdopen(told) as answer:
        found = int(answer.read())
    with contextlib.suppress(ChildProcessError):
        os.waitpid(shell, 0)
    return found


def _log_of(layout: Layout, key: str) -> int:
    """The shipper's log, open; nowhere, where the directory does not take one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    path = layout.shipper_log(key)
    try:
        for log in layout.shipper_logs():
            status = log.stat()
            old = time.time() - status.st_mtime > LOG_AGE
            if old or (log == path and status.st_size > LOG_SIZE):
                log.unlink()
        return os.open(path, flags, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def reap() -> None:
    """Collect shipper processes of ours that have ended."""
    for child in list(_children):
        try:
            ended, _ = os.waitpid(child, os.WNOHANG)
        except ChildProcessError:  # somebody else waited for it, or we are a forked child
            ended = child
        if ended:
            _children.discard(child)
    for orphan in list(_orphans):
        try:
            os.kill(orphan, 0)
        except OSError:
            _orphans.discard(orphan)
