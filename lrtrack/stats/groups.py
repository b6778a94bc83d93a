"""Groups runs by schedule, or by any field that runs have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lrtrack.errors import UsageError
from lrtrack.fields import JSON, names_of, resolve, text_of, unknown_field
from lrtrack.records import History
from lrtrack.schedules import Schedule
from lrtrack.schedules.schedule import DECLARED, INFERRED

#: Fields that have a name of their own in `group_by`: the schedule with its parameters, and the
#: schedule's name. Every other name is a field.
_SCHEDULES = {"schedule": "scheduler.id", "name": "scheduler.name"}


@dataclass(frozen=True)
class Group:
    """Runs that are averaged together.

    Attributes:
        fields: the fields that the runs were grouped by.
        label: a readable label, unique among the groups of one comparison.
    """

    fields: tuple[str, ...]
    label: str
    histories: tuple[History, ...]

    @property
    def schedule(self) -> Schedule | None:
        """The schedule that all runs have; None if they differ."""
        first = self.histories[0].run.schedule
        return first if all(item.run.schedule == first for item in self.histories) else None

    @property
    def schedule_name(self) -> str:
        """The schedules' names, comma-joined if they differ."""
        return ", ".join(sorted({item.run.schedule.name for item in self.histories}))

    @property
    def source(self) -> str:
        """Where the schedules come from: inferred if any is."""
        sources = {item.run.schedule.source for item in self.histories}
        return INFERRED if INFERRED in sources else DECLARED

    @property
    def params(self) -> dict[str, JSON]:
        """Schedule parameters that all runs have with the same value."""
        first, *others = (item.run.schedule.params for item in self.histories)
        return {
            key: value
            for key, value in first.items()
            if all(key in other and other[key] == value for other in others)
        }


def fields_of(group_by: str | Sequence[str]) -> tuple[str, ...]:
    """Read `"schedule,optimizer.lr"` or a sequence of such texts.

    `schedule` groups by the schedule with its parameters, `name` by its name alone. Every other
    name is a field of `History.fields()`, or one that `lrtrack.fields.resolve` can complete.

    Raises:
        UsageError: no field is named.
    """
    texts = [group_by] if isinstance(group_by, str) else list(group_by)
    fields = dict.fromkeys(part.strip() for text in texts for part in text.split(","))
    fields.pop("", None)
    if not fields:
        raise UsageError(
            "No field to group by. Fix: write schedule, name, or a field such as optimizer.lr."
        )
    return tuple(fields)


def noun_of(fields: Sequence[str]) -> str:
    """What groups by these fields are called: `schedule`, or `group` where a group is not one."""
    return "schedule" if {*fields} <= {*_SCHEDULES, *_SCHEDULES.values()} else "group"


def grouped(histories: Iterable[History], fields: Sequence[str]) -> list[Group]:
    """Group `histories` by `fields`, sorted by label; runs within a group are sorted by seed.

    Runs with different prefixes are different trainings, such as the two of a GAN, and are never
    in one group.

    Raises:
        UsageError: no run has one of the fields.
    """
    ordered = sorted(histories, key=_order)
    rows = [history.fields() for history in ordered]
    names = [_field(name, names_of(rows)) for name in fields]
    several = "prefix" not in names and len({history.run.prefix for history in ordered}) > 1
    parts: dict[tuple[str | None, ...], list[History]] = {}
    for history, row in zip(ordered, rows, strict=True):
        key = tuple(text_of(row[name]) if name in row else None for name in names)
        parts.setdefault((*key, history.run.prefix), []).append(history)
    return sorted(
        (Group(tuple(fields), _label(fields, key[:-1], runs[0], several), tuple(runs))
         for key, runs in parts.items()),
        key=lambda group: group.label,
    )  # fmt: skip


def _field(name: str, known: Collection[str]) -> str:
    field = resolve(_SCHEDULES.get(name, name), known)
    if field is None:
        raise unknown_field("group by", name, {*known, *_SCHEDULES})
    return field


def _order(history: History) -> tuple[bool, int, float, str]:
    run = history.run
    return run.seed is None, run.seed or 0, run.started, run.id


def _label(
    fields: Sequence[str], key: Sequence[str | None], history: History, several: bool
) -> str:
    """The label of a group; `several`: whether the runs have several prefixes."""
    parts = []
    for name, value in zip(fields, key, strict=True):
        if name in ("schedule", "scheduler.id"):
            parts.append(history.run.schedule.label)
        elif name == "name":
            parts.append(value or "none")
        else:
            parts.append(f"{name}={'none' if value is None else value}")
    if several and history.run.prefix:
        parts.append(f"prefix={history.run.prefix}")
    return ", ".join(parts)
