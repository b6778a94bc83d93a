"""Rows on their way from the training thread to frames."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from lrtrack.clock import Clock
from lrtrack.journal.events import event_frame
from lrtrack.journal.step_rows import Columns, OnRows, Row, Settle, columns_of, encode_rows, sound
from lrtrack.records import Rewind

#: Steps and times, each of shape (n,), and metrics.
_Table: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64], Columns]
_NO_STEPS = np.array([], dtype=np.int64)
#: A frame has a column for each name in it, so rows whose names differ leave most of it empty. It
#: may have this many cells per value, and this many more, which is about what its names take.
_SPARSE, _FREE = 4, 2**12


class Hold(Protocol):
    """Keeps rows back that are not complete yet."""

    def ready(self, rows: Sequence[Row | Rewind]) -> int:
        """Returns how many of these rows, the first ones, may be taken."""

    def settle(self, rows: Sequence[Row]) -> None:
        """Turns all values of rows into floats, in place."""


class RowQueue:
    """Rows in the order of their steps; thread-safe.

    Attributes:
        append: takes (step, time, metrics): a new row.
        lost: how many steps were dropped.

    Args:
        settle: turns device values of rows into floats, in place, before they are encoded.
        on_rows: called with rows as they are encoded, in order.
        give_way: called between two parts of the work.
        warn: called with a key, a message, and what went wrong.
        clock: whose offset the times of rows lack; None: nothing is missing.
    """

    def __init__(
        self,
        settle: Settle | None,
        on_rows: OnRows | None,
        give_way: Callable[[], None],
        warn: Callable[[str, str, Exception], None],
        clock: Clock | None = None,
    ) -> None:
        self._rows: deque[Row | Rewind] = deque()
        self.append = self._rows.append  # a deque's own lock is enough, and costs nothing
        self._has_rewinds = False
        self.lost, self._last_lost = 0, -1
        self._lock = threading.Lock()
        self._settle = settle
        self._hold: Hold | None = None
        self._on_rows = on_rows
        self._give_way = give_way
        self._warn = warn
        self._clock = clock

    def __len__(self) -> int:
        """Returns the number of waiting rows."""
        return len(self._rows)

    def amend(self, step: int, when: float, metrics: Mapping[str, float]) -> None:
        """Adds metrics to the row of a step, or adds a row with them at the end."""
        with self._lock:
            last = self._rows[-1] if self._rows else None
            if isinstance(last, tuple) and last[0] == step:
                last[2].update(metrics)
            else:
                self._rows.append((step, when, dict(metrics)))

    def rewind(self, rewind: Rewind) -> None:
        """Abandons records before those that follow; it keeps its place among the rows."""
        with self._lock:
            self._rows.append(rewind)
            self._has_rewinds = True

    def hold(self, hold: Hold | None) -> None:
        """Takes only rows that `hold` lets go; all of them, if it is None."""
        self._hold = hold
        if hold is not None:
            self._settle = hold.settle

    @property
    def values(self) -> int:
        """The number of values in the waiting rows."""
        return sum(len(row[2]) for row in list(self._rows) if isinstance(row, tuple))

    def drop_oldest(self, rows: int, values: int) -> None:
        """Drops the oldest rows until that many rows and that many values are gone.

        Rewinds stay: abandoned records would come back.
        """
        rewinds: list[Rewind] = []
        with self._lock:
            while self._rows and (rows > 0 or values > 0):
                oldest = self._rows.popleft()
                if isinstance(oldest, Rewind):
                    rewinds.append(oldest)
                else:
                    rows, values = rows - 1, values - len(oldest[2])
                    self.lost += oldest[0] != self._last_lost  # a step may have several rows
                    self._last_lost = oldest[0]
            self._rows.extendleft(reversed(rewinds))

    def take(self, most_rows: int, most_values: int) -> Iterator[tuple[bytes, NDArray[np.int64]]]:
        """Takes all rows, as frames.

        Args:
            most_rows: the most rows in one frame.
            most_values: roughly the most values in one frame.

        Returns:
            Each frame, and its steps, shape (rows in it,): none for an event.
        """
        with self._lock:
            waiting = [self._rows.popleft() for _ in range(self._ready())]
            has_rewinds = self._has_rewinds
            self._has_rewinds = bool(self._rows) and has_rewinds
        self._give_way()
        if not has_rewinds:  # the usual case, without a look at each row
            yield from self._frames(cast("list[Row]", waiting), most_rows, most_values)
            return
        rows: list[Row] = []
        for item in waiting:
            if isinstance(item, Rewind):
                yield from self._frames(rows, most_rows, most_values)
                yield event_frame("rewind", asdict(item)), _NO_STEPS
                rows = []
            else:
                rows.append(item)
        yield from self._frames(rows, most_rows, most_values)

    def _ready(self) -> int:
        hold = self._hold
        if hold is None:
            return len(self._rows)
        try:
            return hold.ready(list(self._rows))
        except Exception as error:  # a fault there must not keep the rows from the file
            self._hold = None
            self._warn("hold", "could not check whether rows are complete in", error)
            return len(self._rows)

    def _frames(
        self, rows: list[Row], most_rows: int, most_values: int
    ) -> Iterator[tuple[bytes, NDArray[np.int64]]]:
        for part in _parts(rows, most_rows, most_values):
            try:
                columns = self._dated(columns_of(part, self._settle))
                self._give_way()
                frame = encode_rows(*columns)
            except Exception as error:  # one bad value must not take the others with it
                self._warn("bad", "leaves values out of", error)
                columns = self._dated(columns_of(list(sound(part)), None))
                frame = encode_rows(*columns)
            yield frame, columns[0]
            self._give_way()
            self._show(columns)

    def _dated(self, columns: _Table) -> _Table:
        steps, times, metrics = columns
        return (steps, times + self._clock.offset, metrics) if self._clock else columns

    def _show(self, columns: _Table) -> None:
        try:
            if self._on_rows is not None:
                self._on_rows(*columns)
        except Exception as error:  # a fault in the callback must not keep the rows from the file
            self._on_rows = None
            self._warn("look", "could not read the queued rows of", error)


def _parts(rows: list[Row], most_rows: int, most_values: int) -> Iterator[list[Row]]:
    """Divides rows into those of one frame each, none of which is much larger than its values."""
    begin, values = 0, 0
    names: set[str] = set()
    for at, (_, _, metrics) in enumerate(rows):
        is_new = not metrics.keys() <= names
        count, width = at - begin + 1, len(names | metrics.keys() if is_new else names) + 2
        values += len(metrics) + 2
        room = min(most_values, _SPARSE * values + _FREE)
        if count > 1 and (count > most_rows or count * width > room):
            yield rows[begin:at]
            begin, values, names = at, len(metrics) + 2, set(metrics)
        elif is_new:
            names.update(metrics)
    if rows:
        yield rows[begin:]
