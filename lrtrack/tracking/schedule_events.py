"""What a run's journal says of a schedule that its learning rates show."""

from __future__ import annotations

from typing import Any

from lrtrack.errors import warn
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, default_name
from lrtrack.schedules import Schedule
from lrtrack.tracking.live_schedule import LiveSchedule


class ScheduleEvents:
    """Makes the entries of one run's journal that say which schedule the rates show.

    Attributes:
        declared: the description that has replaced the run's own; None if none has.

    Args:
        run: the run.
        schedule: infers the schedule.
        named: whether the user named the run; otherwise its name follows the schedule.
    """

    def __init__(self, run: Run, schedule: LiveSchedule, *, named: bool) -> None:
        self._run = run
        self._schedule = schedule
        self._named = named
        self.declared: Schedule | None = None
        self._written: Schedule | None = None

    def write_news(self, journal: JournalWriter, steps: int) -> None:
        """Write the schedule as soon as the rates of `steps` steps show it clearly."""
        try:
            schedule = self._schedule.news(steps)
        except Exception:  # it is tried again at the end, and reported then
            return
        if schedule is None and self.declared is not self._written:
            schedule = self._written = self.declared
        if schedule is not None:
            journal.event("schedule", **self._entry(schedule))

    def at_end(self, journal: JournalWriter, *, complete: bool) -> dict[str, Any]:
        """Returns the entry for the end of the run; empty if the run's own description stays.

        Args:
            journal: the journal, with all records written.
            complete: whether this block collected every rate of the run itself.
        """
        try:
            table = None if complete else JournalReader(journal.path).course().table
            schedule = self._schedule.at_end(table)
        except Exception as error:
            warn(f"lrtrack could not infer the schedule from the learning rates: {error!r}.")
            return {}
        schedule = schedule or self.declared
        return {} if schedule is None else self._entry(schedule)

    def _entry(self, schedule: Schedule) -> dict[str, Any]:
        run = self._run
        name = default_name(run.prefix, schedule.name, run.seed)
        return {"schedule": schedule.to_dict(), **({} if self._named else {"name": name})}
