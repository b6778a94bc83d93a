"""Notices that a file system does not answer, such as NFS whose server is gone.

A thread that writes there waits in the kernel, and nothing can wake it. Such a thread uses no
processor time at all, which another one sees. Before anything is written there, a thread that may
wait for ever asks first.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

#: Seconds between two looks at the thread, and after how many without progress it counts as stuck.
#: Counted in looks, because a suspended process or machine does not look.
PERIOD, LOOKS = 1.0, 10


def stuck_message(path: Path) -> str:
    """Returns what to tell the user about a journal whose file system does not answer."""
    return (
        f"The file system of {path} has not answered for {PERIOD * LOOKS:g} s. Training continues, "
        "and its latest steps wait in memory: what does not reach the file before the process ends "
        "is lost. Fix: check the mount; for the next run, set LRTRACK_DIR to a disk that answers."
    )


def answers(path: Path) -> bool:
    """Returns whether the file system of a path takes changes within `LOOKS` periods.

    Args:
        path: absolute; if it is missing, the nearest directory above it that is there counts.
    """

    def change() -> None:
        with contextlib.suppress(OSError):  # is an answer, too
            os.utime(next(place for place in (path, *path.parents) if place.exists()))

    thread = threading.Thread(target=change, name="lrtrack-probe", daemon=True)
    thread.start()
    thread.join(PERIOD * LOOKS)
    return not thread.is_alive()


class Watchdog:
    """Watches one thread, which must use the processor at least once in each `LOOKS` periods.

    Attributes:
        is_stuck: whether the thread waits in the kernel, as far as is known now.

    Args:
        on_stuck: called at each look at which the thread is stuck, by the watchdog's thread.
    """

    def __init__(self, on_stuck: Callable[[], None]) -> None:
        self.is_stuck = False
        self._on_stuck = on_stuck
        self._clock: int | None = None
        self._is_excused = False
        # A queue in C, like those of the writer: a forked child may use it.
        self._ended: SimpleQueue[None] = SimpleQueue()

    def watch(self) -> None:
        """Begins to watch the thread that calls this."""
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        thread = threading.Thread(target=self._work, name="lrtrack-watchdog", daemon=True)
        thread.start()

    def stop(self) -> None:
        """Ends the watchdog's thread, without waiting for it. Idempotent."""
        self._ended.put(None)

    @contextmanager
    def excused(self) -> Iterator[None]:
        """During the block the thread waits for something else than a file, such as a GPU."""
        self._is_excused = True
        try:
            yield
        finally:
            self._is_excused = False

    def _work(self) -> None:
        used, looks = self._used(), 0
        while not self._has_ended():
            now = self._used()
            looks = 0 if now != used or self._is_excused else looks + 1
            used, self.is_stuck = now, looks >= LOOKS
            if self.is_stuck:
                self._on_stuck()

    def _has_ended(self) -> bool:
        try:
            self._ended.get(timeout=PERIOD)
        except Empty:
            return False
        return True

    def _used(self) -> float:
        """Returns the processor time that the thread has used, in seconds."""
        try:
            return time.clock_gettime(self._clock) if self._clock is not None else 0.0
        except OSError:  # it has just ended
            return time.monotonic()
