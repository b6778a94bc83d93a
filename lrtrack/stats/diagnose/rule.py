"""The input of a diagnosis rule, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose.observations import Observations
from lrtrack.stats.diagnose.running_statistics import RunningStatistics
from lrtrack.stats.diagnose.schedule_length import Length, length_of
from lrtrack.stats.diagnose.setup import Setup

#: A diagnosis: `"code"`, `"message"`, `"hint"`.
Diagnosis = dict[str, str]


@dataclass(frozen=True)
class RunFacts:
    """The facts about one run that every rule gets.

    Attributes:
        finished: the run ended by itself: no exception, no Ctrl-C, not killed, not running.
        observations: None if only the records are known.
        total_steps: how many steps the training will make; None if that is unknown.
        running: the run goes on. Then a rule reports only what later steps cannot undo.
        setup: what was set before the first step.
    """

    schedule: Schedule
    statistics: RunningStatistics
    finished: bool
    observations: Observations | None
    running: bool = field(default=False, kw_only=True)
    total_steps: int | None = field(default=None, kw_only=True)
    setup: Setup = field(default_factory=Setup, kw_only=True)

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return not self.running

    @property
    def name(self) -> str:
        """The schedule's name."""
        return self.schedule.name

    @cached_property
    def length(self) -> Length | None:
        """The schedule's length, None if its parameters do not state one."""
        return length_of(self.schedule)


def diagnosis(code: str, message: str, hint: str) -> Diagnosis:
    """Build a diagnosis."""
    return {"code": code, "message": message, "hint": hint}


def share(part: int, whole: int) -> str:
    """Format `12 %`; never `0 %` of something, nor `100 %` of less than all."""
    percent = 100.0 * part / whole
    if 0.0 < percent < 1.0:
        return "under 1 %"
    return f"{percent:.0f} %" if part == whole or percent < 99.5 else "over 99 %"
