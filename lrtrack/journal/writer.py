"""Writing one run's journal: the training thread only appends to a list.

A thread of the writer carries the list to the file a few times a second; what reaches the file
survives the process. Rows for a step may come in several parts (`run.log` after the part before
was already on disk): a reader merges rows of one step, later values win.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lrtrack.errors import JournalError, warn
from lrtrack.journal.frames import PREAMBLE, Kind, encode
from lrtrack.records import Run, State

#: Seconds between two writes; rows are promised to be in the file within 1 s.
PERIOD = 0.25
#: Rows in one frame at most, and rows kept in memory while the disk refuses.
FRAME_ROWS = 4096
BACKLOG_ROWS = 200_000

#: step, time, metrics; metrics may still hold values that `settle` turns into floats.
Row = tuple[int, float, dict[str, Any]]
Settle = Callable[[Sequence[Row]], None]

_open_writers: weakref.WeakSet[JournalWriter] = weakref.WeakSet()


class JournalWriter:
    """The open journal of one running run; thread-safe.

    Args:
        path: the journal file; created with mode 0600, or continued.
        run: written as the first event of a new file, as a `resume` event otherwise.
        settle: turns device values of rows into floats, in place, before they are written.
        on_tick: called by the writer's thread at each period, for the caller's own upkeep.

    Raises:
        JournalError: the file cannot be created, or another process is writing it.
    """

    def __init__(
        self,
        path: Path,
        run: Run,
        settle: Settle | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> None:
        self.path = path
        self._settle = settle
        self._on_tick = on_tick
        self._rows: list[Row] = []
        self._row_lock = threading.Lock()
        self._file_lock = threading.Lock()
        self._warned = False
        self._stop = threading.Event()
        self._file, fresh = _open(path)
        self.event("run" if fresh else "resume", run=run.to_dict())
        self._thread = threading.Thread(target=self._work, name="lrtrack-journal", daemon=True)
        self._thread.start()
        _open_writers.add(self)

    def append(self, step: int, when: float, metrics: dict[str, Any]) -> None:
        """Begin the record of a step; the record before it is complete."""
        with self._row_lock:
            self._rows.append((step, when, metrics))

    def amend(self, step: int, when: float, metrics: Mapping[str, float]) -> None:
        """Add metrics to the step's record, or replace some, wherever that record is now."""
        with self._row_lock:
            if self._rows and self._rows[-1][0] == step:
                self._rows[-1][2].update(metrics)
            else:
                self._rows.append((step, when, dict(metrics)))

    def event(self, name: str, **data: Any) -> None:
        """Write an event after all rows so far."""
        self.flush()
        payload = json.dumps({"event": name, "time": time.time(), **data}).encode()
        with self._file_lock:
            self._write(encode(Kind.EVENT, payload))

    def flush(self) -> None:
        """Bring all rows so far into the file."""
        with self._file_lock:
            with self._row_lock:
                rows, self._rows = self._rows, []
            while rows and self._write(_encode_rows(rows[:FRAME_ROWS], self._settle)):
                del rows[:FRAME_ROWS]
            if rows:
                self._keep(rows)

    def close(self, state: State) -> None:
        """End the run and release the file."""
        self._stop.set()
        self._thread.join()
        self.event("end", state=state.value)
        self.release()

    def release(self) -> None:
        """Let go of the file without ending the run: in a forked child, or after a failure."""
        _open_writers.discard(self)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _work(self) -> None:
        while not self._stop.wait(PERIOD):
            try:
                self.flush()
                if self._on_tick is not None:
                    self._on_tick()
            except Exception as error:  # training goes on whatever happens here
                self._warn(f"lrtrack could not write {self.path}: {error!r}")

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
            self._warn(f"lrtrack cannot write {self.path}: {error}. It keeps trying.")
            return False

    def _keep(self, rows: list[Row]) -> None:
        with self._row_lock:
            kept = (rows + self._rows)[-BACKLOG_ROWS:]
            if len(kept) < len(rows) + len(self._rows):
                self._warn(f"lrtrack drops the oldest steps: {self.path} cannot be written.")
            self._rows = kept

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            warn(message)


def _open(path: Path) -> tuple[int, bool]:
    """Open and lock the file; the lock tells everyone that the writer lives."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        raise JournalError(f"cannot write {path}: {error}") from error
    deadline = time.monotonic() + 1.0
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:  # a shipper's glance at the lock takes microseconds
            if time.monotonic() > deadline:
                os.close(file)
                raise JournalError(f"another process is writing {path}") from None
            time.sleep(0.01)
    fresh = os.fstat(file).st_size == 0
    if fresh:
        os.write(file, PREAMBLE)
    return file, fresh


def _encode_rows(rows: Sequence[Row], settle: Settle | None) -> bytes:
    if settle is not None:
        settle(rows)
    names = dict.fromkeys(name for _, _, metrics in rows for name in metrics)
    columns = [
        pa.array([step for step, _, _ in rows], pa.int64()),
        pa.array([when for _, when, _ in rows], pa.float64()),
        *(pa.array([metrics.get(name) for *_, metrics in rows], pa.float64()) for name in names),
    ]
    batch = pa.record_batch(columns, names=["step", "time", *names])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return encode(Kind.ROWS, sink.getvalue().to_pybytes())


def _release_in_child() -> None:
    # A forked child (a DataLoader worker) has no writer thread, and its copy of the descriptor
    # would keep the lock of a dead trainer.
    for writer in list(_open_writers):
        writer.release()


os.register_at_fork(after_in_child=_release_in_child)
