"""A scheduler that another one replaces in mid-training, as a framework tells it."""

from __future__ import annotations

from typing import Any

from lrtrack.capture.describe import describe
from lrtrack.capture.rounds import Rounds
from lrtrack.fields import JSON
from lrtrack.schedules import Schedule
from lrtrack.tracking.captures import Capture, parts
from lrtrack.tracking.live_diagnoses import LiveDiagnoses
from lrtrack.tracking.live_schedule import LiveSchedule
from lrtrack.tracking.resume import ResumedRun
from lrtrack.tracking.schedule_events import ScheduleEvents

#: The parameters of a schedule that consists of several, and the name of each in a mapping.
_PARTS, _BEGIN, _NAME = "schedulers", "begin", "name"


class Succession:
    """Follows the schedulers of one run of one optimizer.

    Args:
        resumed: the run as its block found it.
        capture: counts the steps.
        schedule: compares the rates with the scheduler's.
        diagnoses: the run's diagnoses.
        events: writes the schedule to the journal.
    """

    def __init__(
        self,
        resumed: ResumedRun,
        capture: Capture,
        schedule: LiveSchedule,
        diagnoses: LiveDiagnoses,
        events: ScheduleEvents,
    ) -> None:
        self._current, self._earlier = resumed.run.schedule, resumed.schedule
        self._capture = capture
        self._schedule = schedule
        self._diagnoses = diagnoses
        self._events = events

    def follow(self, scheduler: Any) -> None:
        """Note that `scheduler` moves the rate from the next step on.

        Several optimizers in one run keep the description of their first schedulers.
        """
        capture = self._capture
        if isinstance(capture, Rounds) or scheduler is capture.scheduler:
            return
        step = capture.step + 1
        before = self._current
        after = describe(scheduler) if step == 0 else succeeded(before, describe(scheduler), step)
        # A resumed run may have its second scheduler already, from the step at which it came.
        self._current = self._earlier if after.name == self._earlier.name else after
        capture.replace_scheduler(scheduler)
        self._schedule.replace_scheduler(parts(capture), step)
        self._diagnoses.replace_schedule(self._current)
        self._events.declared = self._current


def succeeded(before: Schedule, after: Schedule, step: int) -> Schedule:
    """The schedule of a run whose scheduler was replaced.

    Args:
        before: the schedule so far, itself perhaps of this kind.
        after: the new scheduler's.
        step: the step from which on it counts.

    Returns:
        One with the names of both (`StepLR -> SWALR`), their descriptions in `schedulers`, and in
        `begin` the steps at which all but the first begin.
    """
    former, begins = before.params.get(_PARTS), before.params.get(_BEGIN)
    is_chain = isinstance(former, list) and isinstance(begins, list)
    chain: list[JSON] = (
        list(former) if is_chain and isinstance(former, list) else [_as_part(before)]
    )
    starts: list[JSON] = list(begins) if is_chain and isinstance(begins, list) else []
    params: dict[str, JSON] = {_PARTS: [*chain, _as_part(after)], _BEGIN: [*starts, step]}
    return Schedule(f"{before.name} -> {after.name}", params)


def _as_part(schedule: Schedule) -> dict[str, JSON]:
    return {_NAME: schedule.name, **schedule.params}
