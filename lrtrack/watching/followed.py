"""One run, followed in its journal while that grows."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path

import numpy as np
import pyarrow as pa

from lrtrack.journal.arrow_arrays import numbers_of, present_in
from lrtrack.journal.course import event_rewind
from lrtrack.journal.ending import ending_of, with_news
from lrtrack.journal.events import Entry
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run, State
from lrtrack.reports.live import LiveRun
from lrtrack.watching.series import Series

#: The most metrics that are followed: norms of single parameters may be thousands.
_METRICS = 64
#: Seconds of training whose speed is the present one.
_LATELY = 30.0


class FollowedRun:
    """Reads what has been added to one journal since the last look.

    Args:
        path: the journal.

    Raises:
        JournalError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._reader = JournalReader(path)
        self._run = self._reader.run
        self._offset = 0
        self._state: State | None = None
        self._step, self._time = -1, 0.0
        self._latest: dict[str, float] = {}
        self._series: dict[str, Series] = {}
        self._places: deque[tuple[float, int]] = deque()

    @property
    def run(self) -> Run:
        """The run, as its journal describes it."""
        return self._run

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come, as far as that is known."""
        return self._state is not None

    def look(self) -> None:
        """Read what is new."""
        alive = self._reader.alive()  # first, because the last entries come before the end
        for entry in self._reader.entries(self._offset):
            self._offset = entry.end
            if entry.rows is not None:
                self._add(entry.rows)
            else:
                self._note(entry)
        if alive:
            self._state = None
        elif self._state is None:  # killed
            self._state = State.FAILED

    def shown(self) -> LiveRun:
        """What is known now."""
        return LiveRun(
            id=self._run.id,
            name=self._run.name,
            label=self._run.schedule.label,
            state=self._state or State.RUNNING,
            step=self._step,
            total_steps=self._run.total_steps,
            time=self._time,
            steps_per_second=self._speed(),
            latest=dict(self._latest),
            series={name: series.points() for name, series in self._series.items()},
            diagnoses=self._run.diagnoses or (),
        )

    def _note(self, entry: Entry) -> None:
        event = entry.event or {}
        self._run = with_news(self._run, (event,))
        ending = ending_of(event)
        if ending is not None:
            self._state, self._run = ending.state, ending.completed(self._run)
        elif event.get("event") == "resume":
            self._state = None
            self._places.clear()
        rewind = event_rewind(event)
        if rewind is not None:
            self._step = rewind.step - 1
            self._places.clear()
            for series in self._series.values():
                series.rewind(rewind.step)

    def _add(self, rows: pa.RecordBatch) -> None:
        steps = numbers_of(rows["step"])
        new = steps > self._step  # others amend a step
        own = self._run.prefix
        for name in rows.schema.names[2:]:
            values = numbers_of(rows[name])
            there = np.flatnonzero(present_in(rows[name]))
            short = name.removeprefix(own)
            if not there.size or (short not in self._series and len(self._series) >= _METRICS):
                continue
            self._latest[short] = float(values[there[-1]])
            series = self._series.setdefault(short, Series())
            series.add(steps[there].astype(np.float64), values[there].astype(np.float64))
        if new.any():
            self._step = int(steps.max())
            self._time = float(numbers_of(rows["time"]).max())
            self._places.append((self._time, self._step))
            while len(self._places) > 2 and self._places[1][0] < self._time - _LATELY:
                self._places.popleft()

    def _speed(self) -> float:
        if len(self._places) < 2:
            return math.nan
        (began, first), (ended, last) = self._places[0], self._places[-1]
        return (last - first) / (ended - began) if ended > began else math.nan
