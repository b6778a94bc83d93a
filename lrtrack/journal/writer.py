"""Writes one run's journal: the training thread only appends to a list.

A thread moves the list to the file a few times a second, and what is in the file survives the
process. Only this thread touches the file: others ask it and wait, so that Ctrl-C ends the waiting
and never a write. A step's rows may come in several parts; later values win.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from lrtrack.clock import Clock
from lrtrack.errors import JournalError, warn
from lrtrack.journal import signature
from lrtrack.journal.events import event_frame
from lrtrack.journal.frame_queue import FrameQueue
from lrtrack.journal.overflow import Overflow
from lrtrack.journal.row_queue import RowQueue
from lrtrack.journal.segmented_file import SegmentedFile
from lrtrack.journal.step_rows import OnRows, Settle, warm_up
from lrtrack.journal.watchdog import Watchdog, stuck_message
from lrtrack.records import Run, State

#: Seconds between two writes; rows are promised to be in the file within 1 s.
PERIOD = 0.25
#: Seconds between two parts of the work of one write: more than a short step takes.
BREATH = 0.002
#: The most rows, and about the most values, in one frame; in memory while the disk is full.
FRAME_ROWS, FRAME_VALUES, BACKLOG_ROWS, BACKLOG_VALUES = 4096, 2**20, 200_000, 2_000_000
#: Seconds between two checks of a waiting thread whether the writer's thread still runs.
LOOK = 0.1

_open_writers: weakref.WeakSet[JournalWriter] = weakref.WeakSet()

#: A request to the writer's thread; returns whether that was its last work.
_Order = Callable[[], bool]


class JournalWriter:
    """The open journal of one running run; thread-safe.

    Attributes:
        appended: takes (step, time, metrics) as `append` does, at the cost of one call less.
        amend: takes the same, to add metrics to the step's record, or replace some.
        rewind: takes a `Rewind`, which abandons records before those that follow, without waiting.
        hold: takes a `Hold`, which keeps rows back until they are complete, or the run ends.

    Args:
        path: the journal file; created with mode 0600, or continued.
        run: written as the first event of a new file, as a `resume` event otherwise.
        settle: turns device values of rows into floats, in place, before they are written.
        on_tick: called by the writer's thread at each period, for the caller's own maintenance.
        on_rows: called with rows that go to the file, in order, by the thread that writes them.
        on_lost: called before and after a deleted journal is restored, for the other files.
        overflow: stores on another disk what this one does not take.
        is_abandoned: returns whether this journal will never be closed: then it ends as FAILED.
        clock: of which rows have a bare reading as their time; None: rows have their time.

    Raises:
        JournalError: the file cannot be created, or another process is writing it.
    """

    def __init__(
        self,
        path: Path,
        run: Run,
        settle: Settle | None = None,
        on_tick: Callable[[], None] | None = None,
        on_rows: OnRows | None = None,
        on_lost: Callable[[], None] | None = None,
        overflow: Overflow | None = None,
        is_abandoned: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
    ) -> None:
        self.path, self._on_tick, self._on_lost = path, on_tick, on_lost
        self._is_abandoned, self._clock = is_abandoned, clock or time.time
        self._rows = rows = RowQueue(settle, on_rows, self._give_way, self._trouble, clock)
        self.appended, self.amend = rows.append, rows.amend
        self.rewind, self.hold = rows.rewind, rows.hold
        self._told: set[str] = set()
        # Queues in C: Ctrl-C comes before an order is put or after it, and never in between.
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._watchdog, self._is_closed, self._gives_way = Watchdog(self._stuck), False, False
        self._tick_at = time.monotonic() + PERIOD
        self._thread = threading.Thread(target=self._work, name="lrtrack-journal", daemon=True)
        warm_up()  # now, because the first use takes ten times as long as any other
        identity = signature.signed(run.to_dict())
        self._file = SegmentedFile(path, overflow)
        self._frames = FrameQueue(self._file, overflow, self._warn)
        try:
            self._begin(identity)
            _open_writers.add(self)
            self._thread.start()
        except BaseException:
            self._orders.put(self._leave)  # for the thread, if it runs
            self._leave()
            raise

    @property
    def is_stuck(self) -> bool:
        """Whether the file system has not answered for so long that nobody should wait for it."""
        return self._watchdog.is_stuck and not self._is_closed

    @property
    def kept_in(self) -> str | None:
        """The directory that has what the journal's disk refused; None if it took everything."""
        return self._frames.kept_in

    def append(self, step: int, when: float, metrics: dict[str, Any]) -> None:
        """Starts the record of a step; the record before it is complete."""
        self.appended((step, when, metrics))

    def event(self, name: str, /, **data: Any) -> None:
        """Writes an event after all rows so far."""
        self._ask(lambda: self._write_event(name, data))

    def flush(self) -> None:
        """Writes all rows so far to the file."""
        self._ask(self._flush)

    def close(self, state: State, *, wait: bool = True, **data: Any) -> None:
        """Ends the run and releases the file; of several calls, the first one counts.

        Args:
            state: how the run ended.
            wait: until that is written. It is written in any case, whatever interrupts this call.
            **data: what is only known at the end.
        """
        self._orders.put(lambda: self._end(state, data))
        if wait:
            self._wait(self._ended)

    def release(self, *, discard: bool = False) -> None:
        """Releases the file without ending the run; with `discard`, also deletes it."""
        self._orders.put(lambda: self._leave(discard))
        self._wait(self._ended)

    def _ask(self, work: Callable[[], Any]) -> None:
        """Gives the writer's thread a request, and waits until it is done."""
        if threading.get_ident() == self._thread.ident:
            work()
            return
        done: SimpleQueue[None] = SimpleQueue()

        def order() -> bool:
            try:
                work()
            finally:
                done.put(None)
            return False

        self._orders.put(order)
        self._wait(done)

    def _wait(self, done: SimpleQueue[None]) -> None:
        if threading.get_ident() == self._thread.ident:
            return
        while not (self._is_closed or self._watchdog.is_stuck) and self._thread.is_alive():
            with contextlib.suppress(Empty):
                done.get(timeout=LOOK)
                return

    def _work(self) -> None:
        last = False
        self._watchdog.watch()
        while not last:
            try:
                last = self._next_order()()
            except Exception as error:  # training continues whatever happens here
                self._trouble("upkeep", "could not write", error)

    def _next_order(self) -> _Order:
        try:
            return self._orders.get(timeout=max(self._tick_at - time.monotonic(), 0))
        except Empty:
            self._tick_at = time.monotonic() + PERIOD
        if self._is_abandoned():
            return lambda: self._end(State.FAILED, {})
        return self._upkeep

    def _upkeep(self) -> bool:
        self._gives_way = True
        try:
            self._keep()
            self._flush()
            self._give_way()
            if self._on_tick is not None:
                self._on_tick()
        finally:
            self._gives_way = False
            self._tick_at = time.monotonic() + PERIOD
        return False

    def _begin(self, identity: Mapping[str, Any]) -> None:
        """Writes whose journal it is; raises JournalError if the disk has no room even for that."""
        frame = event_frame("run" if self._file.fresh else "resume", identity, self._clock())
        if not self._file.begin(frame):
            self._frames.add(frame)
            self._frames.push()

    def _end(self, state: State, data: Mapping[str, Any]) -> bool:
        try:
            self._keep()
            self._rows.hold(None)
            self._write_event("end", {"state": state.value, **data})
            end = event_frame("end", {"state": state.value}, self._clock())
            self._frames.finish(end, self._rows.lost)
        except Exception as error:
            self._trouble("end", "could not end", error)
        return self._leave()

    def _leave(self, discard: bool = False) -> bool:
        _open_writers.discard(self)
        self._watchdog.stop()
        self._frames.release()
        (self._file.discard if discard else self._file.close)()
        self._is_closed = True
        self._ended.put(None)
        return True

    def _write_event(self, name: str, data: Mapping[str, Any]) -> None:
        self._take()
        self._frames.add(event_frame(name, data, self._clock()))
        self._push()

    def _flush(self) -> None:
        if self._push() or self._frames.spills:  # else they wait as rows, which take less memory
            self._take()
            self._push()

    def _give_way(self) -> None:
        """Gives the interpreter to the training; otherwise one step would wait for all of this."""
        if self._gives_way and self._orders.empty():  # otherwise another thread waits for this
            time.sleep(BREATH)

    def _keep(self) -> None:
        """Restores the file at its path if it was deleted, or closed by other code."""
        try:
            self._file.keep(self._on_lost)
        except (OSError, JournalError) as error:
            what = f"lrtrack cannot put back {self.path}, which was deleted: {error}."
            self._warn("lost file", f"{what} It keeps trying until the run ends.")

    def _take(self) -> None:
        """Turns the rows so far into frames that wait to be written."""
        with self._watchdog.excused():
            for frame, steps in self._rows.take(FRAME_ROWS, FRAME_VALUES):
                self._frames.add(frame, steps)

    def _push(self) -> bool:
        """Writes the waiting frames as far as the disk takes them; returns whether it took all."""
        if self._frames.push():
            return True
        self._trim()
        return False

    def _trim(self, *, is_stuck: bool = False) -> None:
        """Drops the oldest rows, but no event, if more wait than memory should hold.

        While the writer's thread `is_stuck`, its frames are left alone.
        """
        rows = len(self._frames) + len(self._rows) - BACKLOG_ROWS
        values = self._frames.values + self._rows.values - BACKLOG_VALUES
        if rows <= 0 and values <= 0:
            return
        self._warn("full", f"lrtrack drops the oldest steps: {self.path} cannot be written.")
        if not is_stuck:
            rows, values = self._frames.drop_oldest(rows, values)
        self._rows.drop_oldest(rows, values)

    def _stuck(self) -> None:
        """Called by the watchdog's thread."""
        self._warn("stuck", stuck_message(self.path))
        self._trim(is_stuck=True)

    def _trouble(self, key: str, what: str, error: Exception) -> None:
        self._warn(key, f"lrtrack {what} {self.path}: {error!r}")

    def _warn(self, key: str, message: str) -> None:
        if key not in self._told:
            self._told.add(key)
            warn(message)


def _release_in_child() -> None:
    # A forked child (a DataLoader worker) has no such thread, and would keep a dead trainer's lock.
    for writer in list(_open_writers):
        writer._leave()


os.register_at_fork(after_in_child=_release_in_child)
