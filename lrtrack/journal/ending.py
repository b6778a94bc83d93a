"""How a journal says that its run ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lrtrack.records import Run, State, diagnoses_from, suggestions_from
from lrtrack.schedules import Schedule


@dataclass(frozen=True)
class Ending:
    """How a run says that it ended, and what is only known at its end: see `Run`."""

    state: State
    time: float
    suggestions: Mapping[str, float] = field(default_factory=dict)
    diagnoses: tuple[Mapping[str, str], ...] | None = None
    schedule: Schedule | None = None
    name: str | None = None
    device: tuple[str, str] | None = None

    @property
    def tells(self) -> bool:
        """Whether the end adds anything to what was known at the start."""
        known = (self.diagnoses, self.schedule, self.device)
        return bool(self.suggestions) or any(part is not None for part in known)

    def completed(self, run: Run) -> Run:
        """Returns the run with what is only known at its end."""
        device_type, device_name = self.device or (run.device_type, run.device_name)
        return replace(
            run,
            device_type=device_type,
            device_name=device_name,
            suggestions=self.suggestions or run.suggestions,
            diagnoses=run.diagnoses if self.diagnoses is None else self.diagnoses,
            schedule=self.schedule or run.schedule,
            name=self.name or run.name,
            outcome=self.state,
        )


def schedule_of(event: Mapping[str, Any] | None) -> tuple[Schedule, str | None] | None:
    """The schedule in a `schedule` event, and the run's name; None for other events."""
    if event is None or event.get("event") != "schedule":
        return None
    data, name = event.get("schedule"), event.get("name")
    try:
        schedule = Schedule.from_dict(data) if isinstance(data, Mapping) else None
    except ValueError:
        return None
    return None if schedule is None else (schedule, name if isinstance(name, str) else None)


def diagnoses_in(event: Mapping[str, Any] | None) -> tuple[dict[str, str], ...] | None:
    """All diagnoses so far, in a `diagnoses` event; None for other events."""
    if event is None or event.get("event") != "diagnoses":
        return None
    return diagnoses_from(event.get("diagnoses"))


def has_news(event: Mapping[str, Any] | None) -> bool:
    """Whether an event adds to the description of a run that goes on."""
    return schedule_of(event) is not None or diagnoses_in(event) is not None


def with_news(run: Run, events: Iterable[Mapping[str, Any] | None]) -> Run:
    """Returns the run with what its journal's events add to its description while it goes on."""
    for event in events:
        if (shown := schedule_of(event)) is not None:
            run = replace(run, schedule=shown[0], name=shown[1] or run.name)
        elif (diagnoses := diagnoses_in(event)) is not None:
            run = replace(run, diagnoses=diagnoses)
    return run


def ending_of(event: Mapping[str, Any]) -> Ending | None:
    """Returns the ending in an `end` event; None for other events."""
    if event.get("event") != "end":
        return None
    try:
        suggestions = suggestions_from(event.get("suggestions"))
        diagnoses = diagnoses_from(event.get("diagnoses"))
        name, data = event.get("name"), event.get("schedule")
        return Ending(
            State(event["state"]),
            float(event["time"]),
            suggestions,
            diagnoses,
            Schedule.from_dict(data) if isinstance(data, Mapping) else None,
            name if isinstance(name, str) else None,
            _device(event.get("device")),
        )
    except (KeyError, TypeError, ValueError):
        return Ending(State.FAILED, 0.0)


def _device(data: Any) -> tuple[str, str] | None:
    """Type and name of a device."""
    if not isinstance(data, Mapping):
        return None
    kind, name = data.get("type"), data.get("name")
    return (kind, name) if isinstance(kind, str) and isinstance(name, str) else None
