"""Returns of a training to an earlier step: found out by the capture, stored in the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lrtrack.capture.ensemble import ensemble_of
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import TRAIN, Rewind
from lrtrack.tracking.captures import Capture
from lrtrack.tracking.options import Options
from lrtrack.tracking.resume import ResumedRun

#: Seconds between an abandoned record and its successor, for trackers that count milliseconds.
_APART = 0.002


class Returns:
    """Knows which steps of one run are in its journal already, and which are abandoned.

    Attributes:
        journal: the run's journal, once it is open; None where it cannot be written.
        last_step: the last step that an earlier process has recorded and that is not abandoned.

    Args:
        options: the options of the block.
        resumed: the run and what its journal already holds.
        capture: counts the steps; knows its first one when this returns.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self, options: Options, resumed: ResumedRun, capture: Capture, clock: Callable[[], float]
    ) -> None:
        self.journal: JournalWriter | None = None
        self.last_step = -1 if resumed.is_branch else resumed.last_step
        self._loads = capture.loads
        self._clock = clock
        self._is_recorded_elsewhere = options.resume is not None and resumed.course is None
        self._is_branch = resumed.is_branch
        self._schedule = ensemble_of(options.optimizer, options.scheduler).schedule().id
        self._tracks = options.kind == TRAIN
        self._stored: dict[str, Any] = {}
        self._latest = 0.0
        capture.step = resumed.last_step
        if resumed.course is not None and not resumed.is_branch:
            count = f"{resumed.run.prefix}loss_count"
            capture.counts.counting = count in resumed.course.table.column_names
            self._latest = resumed.latest
        if options.resume is not None:
            self._look_at_checkpoint(resumed)

    def _look_at_checkpoint(self, resumed: ResumedRun) -> None:
        """Find out whether the user has loaded an earlier step already."""
        pace = {} if resumed.course is None else dict(resumed.course.pace or {})
        last, same = resumed.last_step, pace.get("schedule") == self._schedule
        self._loads.restore(pace, last, same=same)
        self._loads.enter(last)

    def note(self, step: int, last: int, named: bool, latest: float | None) -> bool:
        """Abandon the records from `step` on, which is made next after a checkpoint was loaded.

        Args:
            step: the step that is made next.
            last: the last step before the checkpoint was loaded.
            named: whether the user named the step.
            latest: when the last record was made, in seconds since the epoch.

        Returns:
            Whether anything is abandoned.
        """
        if self.journal is None:
            return False
        if step > last and not (self._is_recorded_elsewhere and named):
            return False
        if self._is_branch and self.last_step < 0:  # these are the parent's records
            last = min(last, step - 1)
        self._is_recorded_elsewhere = self._is_branch = False
        self.last_step = min(self.last_step, step - 1)
        when = max(self._clock(), (latest or self._latest) + _APART)
        self.journal.rewind(Rewind(step, last, when))
        return True

    def store_pace(self) -> None:
        """Note in the journal at which steps the scheduler moves, if that has changed."""
        stored = self._loads.stored()
        shape = _shape(stored)
        if self.journal is not None and self._tracks and shape != self._stored:
            self._stored = shape
            self.journal.event("pace", schedule=self._schedule, **stored)


def _shape(stored: Any) -> Any:
    """What was stored, without the last step of each segment, which moves with every step."""
    if isinstance(stored, Mapping):
        return {key: _shape(value) for key, value in stored.items()}
    if isinstance(stored, list):
        is_segment = stored and type(stored[0]) is int
        return stored[:3] if is_segment else [_shape(value) for value in stored]
    return stored
