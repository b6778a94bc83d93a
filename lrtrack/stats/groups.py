"""Which runs belong together: by schedule, or by any field that runs carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lrtrack.errors import UsageError, unknown
from lrtrack.records import History
from lrtrack.schedules import JSON, Schedule, text_of

_PLAIN_FIELDS = ("schedule", "name", "seed", "group", "device", "optimizer", "tracker", "state")


@dataclass(frozen=True)
class Group:
    """Runs that are averaged together.

    Attributes:
        fields: what was grouped by.
        label: for people, and unique among the groups of one comparison.
    """

    fields: tuple[str, ...]
    label: str
    histories: tuple[History, ...]

    @property
    def schedule(self) -> Schedule | None:
        """The schedule that all runs have; None where they differ."""
        first = self.histories[0].run.schedule
        return first if all(item.run.schedule == first for item in self.histories) else None

    @property
    def schedule_name(self) -> str:
        """The schedules' names, comma-joined where they differ."""
        return ", ".join(sorted({item.run.schedule.name for item in self.histories}))

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

    Raises:
        UsageError: no field is named.
    """
    texts = [group_by] if isinstance(group_by, str) else list(group_by)
    fields = dict.fromkeys(part.strip() for text in texts for part in text.split(","))
    fields.pop("", None)
    if not fields:
        raise UsageError("Say what to group by: schedule, name, or a field such as optimizer.lr.")
    return tuple(fields)


def grouped(histories: Iterable[History], fields: Sequence[str]) -> list[Group]:
    """Part `histories` by `fields`, in the order of the labels; runs keep the order of seeds.

    Raises:
        UsageError: no run has one of the fields.
    """
    ordered = sorted(histories, key=_order)
    for name in fields:
        if all(value_of(history, name) is None for history in ordered):
            raise UsageError(unknown("field to group by", name, known_fields(ordered)))
    parts: dict[tuple[str | None, ...], list[History]] = {}
    for history in ordered:
        parts.setdefault(tuple(value_of(history, name) for name in fields), []).append(history)
    return sorted(
        (Group(tuple(fields), _label(fields, key, runs[0]), tuple(runs))
         for key, runs in parts.items()),
        key=lambda group: group.label,
    )  # fmt: skip


def value_of(history: History, name: str) -> str | None:
    """What field `name` holds for a run, as text; None where the run has no such field.

    `schedule`, `name`, `seed`, `group`, `device`, `optimizer`, `tracker`, `state`;
    `scheduler.max_lr`, `scheduler.schedulers.0.gamma`; `optimizer.lr`; `config.KEY`, `tags.KEY`,
    and a bare key, first of the config, then of the tags.
    """
    value = fields_with_values(history).get(name)
    return None if value is None else text_of(value)


def known_fields(histories: Iterable[History]) -> set[str]:
    """All names that `value_of` knows for at least one of the runs."""
    return {
        name
        for history in histories
        for name, value in fields_with_values(history).items()
        if value is not None
    }


def fields_with_values(history: History) -> dict[str, JSON]:
    """All fields of a run that can be grouped by."""
    run = history.run
    config = _flat(run.config)
    plain_values = (
        run.schedule.id, run.schedule.name, run.seed, run.group, run.device_name or run.device_type,
        run.optimizer.get("name"), history.tracker, str(history.state),
    )  # fmt: skip
    return {
        **run.tags,
        **config,
        **{f"tags.{key}": value for key, value in run.tags.items()},
        **{f"config.{key}": value for key, value in config.items()},
        **{f"optimizer.{key}": value for key, value in run.optimizer.items()},
        **{f"scheduler.{key}": value for key, value in run.schedule.flat().items()},
        "scheduler.id": run.schedule.id,
        **dict(zip(_PLAIN_FIELDS, plain_values, strict=True)),
    }


def _flat(config: Mapping[str, JSON], before: str = "") -> dict[str, JSON]:
    """Inner mappings by dotted keys, beside the mappings themselves."""
    flat: dict[str, JSON] = {}
    for key, value in config.items():
        flat[before + key] = value
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{before}{key}."))
    return flat


def _order(history: History) -> tuple[bool, int, float, str]:
    run = history.run
    return run.seed is None, run.seed or 0, run.started, run.id


def _label(fields: Sequence[str], key: Sequence[str | None], history: History) -> str:
    parts = []
    for name, value in zip(fields, key, strict=True):
        if name in ("schedule", "scheduler.id"):
            parts.append(history.run.schedule.label)
        elif name == "name":
            parts.append(value or "none")
        else:
            parts.append(f"{name}={'none' if value is None else value}")
    return ", ".join(parts)
