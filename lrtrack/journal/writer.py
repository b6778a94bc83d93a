"""Writing one run's journal: the training thread only appends to a list.

A thread of the writer carries the list to the file a few times a second; what reaches the file
survives the process. Rows for a step may come in several parts (`run.log` after the part before
was already on disk): a reader merges rows of one step, later values win.
"""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrack.errors import JournalError, warn
from lrtrack.journal import signature
from lrtrack.journal.frames import Kind, encode
from lrtrack.journal.opening import opened
from lrtrack.journal.restoring import lost, restored
from lrtrack.journal.rows import (
    Columns,
    OnRows,
    Row,
    Settle,
    columns_of,
    encode_rows,
    sound,
    warm_up,
)
from lrtrack.records import Run, State

#: Seconds between two writes; rows are promised to be in the file within 1 s.
PERIOD = 0.25
#: Seconds between two parts of the work of one write: more than a short step takes.
BREATH = 0.002
#: Rows and about as many values in one frame at most; rows kept in memory while the disk refuses.
FRAME_ROWS = 4096
FRAME_VALUES = 2**20
BACKLOG_ROWS = 200_000

_open_writers: weakref.WeakSet[JournalWriter] = weakref.WeakSet()


class JournalWriter:
    """The open journal of one running run; thread-safe.

    Attributes:
        appended: takes (step, time, metrics) as `append` does, at the cost of one call less.

    Args:
        path: the journal file; created with mode 0600, or continued.
        run: written as the first event of a new file, as a `resume` event otherwise.
        settle: turns device values of rows into floats, in place, before they are written.
        on_tick: called by the writer's thread at each period, for the caller's own upkeep.
        on_rows: called with rows that go to the file, in order, by whichever thread brings them.
        on_lost: called before and after a deleted journal is put back, to put back what else was
            there.

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
    ) -> None:
        self.path = path
        self._settle = settle
        self._on_tick = on_tick
        self._on_rows = on_rows
        self._on_lost = on_lost
        self._rows: deque[Row] = deque()
        self.appended = self._rows.append  # a deque's own lock is enough, and costs nothing
        self._row_lock = threading.Lock()
        self._file_lock = threading.Lock()
        self._late: list[tuple[int, bytes]] = []  # rows in it and frame, in order, to be written
        self._told: set[str] = set()
        self._stop = threading.Event()
        self._own_thread = 0
        warm_up()  # now, as the first use takes ten times as long as any other
        identity = run.to_dict()
        signed = {"run": identity, signature.FIELD: signature.sign(identity)}
        self._file, fresh = opened(path)
        self.event("run" if fresh else "resume", **signed)
        self._thread = threading.Thread(target=self._work, name="lrtrack-journal", daemon=True)
        self._thread.start()
        _open_writers.add(self)

    def append(self, step: int, when: float, metrics: dict[str, Any]) -> None:
        """Begin the record of a step; the record before it is complete."""
        self.appended((step, when, metrics))

    def amend(self, step: int, when: float, metrics: Mapping[str, float]) -> None:
        """Add metrics to the step's record, or replace some, wherever that record is now."""
        with self._row_lock:
            if self._rows and self._rows[-1][0] == step:
                self._rows[-1][2].update(metrics)
            else:
                self._rows.append((step, when, dict(metrics)))

    def event(self, name: str, **data: Any) -> None:
        """Write an event after all rows so far."""
        payload = json.dumps({"event": name, "time": time.time(), **data}).encode()
        with self._file_lock:
            self._take()
            self._late.append((0, encode(Kind.EVENT, payload)))
            self._push()

    def flush(self) -> None:
        """Bring all rows so far into the file."""
        with self._file_lock:
            if self._push():  # else the rows wait as rows, which takes less room
                self._take()
                self._push()

    def close(self, state: State, **data: Any) -> None:
        """End the run and release the file; idempotent. `data` is what only the end knows."""
        if self._file < 0:
            return
        self._stop.set()
        self._thread.join()
        try:
            self._keep()
            self.event("end", state=state.value, **data)
            if self._late:
                self._warn("lost", f"the last steps of {self.path} could not be written.")
        finally:
            self.release()

    def release(self) -> None:
        """Let go of the file without ending the run: in a forked child, or after a failure."""
        _open_writers.discard(self)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _work(self) -> None:
        self._own_thread = threading.get_ident()
        while not self._stop.wait(PERIOD) and self._file >= 0:
            try:
                self._keep()
                self.flush()
                self._give_way()
                if self._on_tick is not None:
                    self._on_tick()
            except Exception as error:  # training goes on whatever happens here
                self._warn("upkeep", f"lrtrack could not write {self.path}: {error!r}")

    def _give_way(self) -> None:
        """Let the training have the interpreter: else one step would wait for all of this.

        Only in the writer's own thread; whoever else brings rows to the file is waiting for it.
        """
        if threading.get_ident() == self._own_thread:
            self._stop.wait(BREATH)

    def _keep(self) -> None:
        """Put the file back at its path where it was deleted."""
        if not lost(self._file, self.path):
            return
        try:
            if self._on_lost is not None:
                self._on_lost()
            with self._file_lock:
                copy = restored(self._file, self.path)
                os.close(self._file)
                self._file = copy
            if self._on_lost is not None:
                self._on_lost()
        except (OSError, JournalError) as error:
            self._warn(
                "lost file",
                f"lrtrack cannot put back {self.path}, which was deleted: {error}. It keeps trying "
                "until the run ends.",
            )

    def _take(self) -> None:
        """Turn the rows so far into frames that wait to be written."""
        with self._row_lock:
            rows = [self._rows.popleft() for _ in range(len(self._rows))]
        self._give_way()
        width = max((len(metrics) for *_, metrics in rows), default=0) + 2
        size = max(1, min(FRAME_ROWS, FRAME_VALUES // width))
        for at in range(0, len(rows), size):
            part = rows[at : at + size]
            try:
                columns = columns_of(part, self._settle)
                self._give_way()
                frame = encode_rows(*columns)
            except Exception as error:  # one bad value must not take the others with it
                self._warn("bad", f"lrtrack leaves values out of {self.path}: {error!r}")
                columns = columns_of(list(sound(part)), None)
                frame = encode_rows(*columns)
            self._late.append((len(part), frame))
            self._give_way()
            self._show(columns[0], columns[2])

    def _show(self, steps: NDArray[np.int64], metrics: Columns) -> None:
        try:
            if self._on_rows is not None:
                self._on_rows(steps, metrics)
        except Exception as error:  # looking at the rows must not keep them from the file
            self._on_rows = None
            self._warn("look", f"lrtrack could not look at the rows of {self.path}: {error!r}")

    def _push(self) -> bool:
        """Write the waiting frames as far as the disk takes them; whether it took all."""
        while self._late and self._write(self._late[0][1]):
            del self._late[0]
        if self._late:
            self._trim()
        return not self._late

    def _write(self, data: bytes) -> bool:
        """Append `data` whole or not at all."""
        if self._file < 0:
            return False
        before = os.fstat(self._file).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            return True
        except OSError as error:
            os.ftruncate(self._file, before)
            self._warn("disk", f"lrtrack cannot write {self.path}: {error}. It keeps trying.")
            return False

    def _trim(self) -> None:
        """Drop the oldest rows, and no event, where more wait than memory should hold."""
        excess = sum(count for count, _ in self._late) + len(self._rows) - BACKLOG_ROWS
        if excess <= 0:
            return
        self._warn("full", f"lrtrack drops the oldest steps: {self.path} cannot be written.")
        kept = []
        for count, frame in self._late:
            if count and excess > 0:
                excess -= count
            else:
                kept.append((count, frame))
        self._late = kept
        with self._row_lock:
            for _ in range(min(max(excess, 0), len(self._rows))):
                self._rows.popleft()

    def _warn(self, key: str, message: str) -> None:
        if key not in self._told:
            self._told.add(key)
            warn(message)


def _release_in_child() -> None:
    # A forked child (a DataLoader worker) has no writer thread, and its copy of the descriptor
    # would keep the lock of a dead trainer.
    for writer in list(_open_writers):
        writer.release()


os.register_at_fork(after_in_child=_release_in_child)
