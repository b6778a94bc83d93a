"""Writes a `Schedule` as the spec text that builds it."""

from __future__ import annotations

from collections.abc import Mapping

from lrtrack.errors import UsageError
from lrtrack.fields import JSON
from lrtrack.schedules.catalogue import INTERVAL, KINDS, LASTS, SKIP
from lrtrack.schedules.schedule import CONSTANT, Schedule, label_of
from lrtrack.schedules.spec import Stage, write

_CHAIN, _INTERVAL, _SKIP = "SequentialLR", "IntervalLR", "SkipLR"


def spec_of(schedule: Schedule) -> str:
    """Return the spec that builds a scheduler with this description.

    Raises:
        UsageError: the spec language cannot express it, for example schedules made of functions.
    """
    if schedule.name == CONSTANT:
        return CONSTANT
    if schedule.name != _CHAIN:
        return write([_stage(schedule.to_dict())])
    links, ends = schedule.params.get("schedulers"), schedule.params.get("milestones")
    if not isinstance(links, list | tuple) or not isinstance(ends, list | tuple):
        raise _inexpressible(schedule.to_dict(), "its inner schedules are unknown")
    if len(ends) != len(links) - 1:
        raise _inexpressible(
            schedule.to_dict(), "it needs exactly one milestone between each two schedules"
        )
    lengths = [end - before for before, end in zip([0, *ends[:-1]], ends, strict=True)]
    if not all(length > 0 for length in lengths):
        raise _inexpressible(schedule.to_dict(), "its milestones must increase")
    return write([*map(_stage, links[:-1], lengths), _stage(links[-1])])


def _stage(data: Mapping[str, JSON], lasts: int | None = None) -> Stage:
    """Convert one schedule's mapping to a stage, with the short names of its parameters."""
    if data.get("name") == _INTERVAL:
        return _at_intervals(data, lasts)
    if data.get("name") == _SKIP:
        return _entered(data, lasts)
    name = _kind_of(data)
    kind = KINDS[name]
    short = {own: text for text, own in kind.short.items()}
    for key in sorted(data.keys() - {"name", *kind.params, *kind.fixed}):
        raise _inexpressible(data, f"{name} has no parameter {key}")
    params = {short.get(key, key): _value(data, key) for key in kind.params if key in data}
    if lasts is not None and lasts != data.get(str(kind.length)):
        params[LASTS] = lasts
    return Stage(name, params)


def _at_intervals(data: Mapping[str, JSON], lasts: int | None) -> Stage:
    """Convert a schedule that is stepped at intervals; `lasts` counts optimizer steps."""
    inner, interval = data.get("scheduler"), data.get("interval")
    if not isinstance(inner, Mapping) or not isinstance(interval, int):
        raise _inexpressible(data, "its inner schedule or its interval is unknown")
    stage = _stage(inner)
    own = _own_length(stage)
    if lasts is not None and (own is None or own * interval != lasts):
        stage = Stage(stage.name, {**stage.params, LASTS: lasts})
    return Stage(stage.name, {**stage.params, INTERVAL: interval})


def _entered(data: Mapping[str, JSON], lasts: int | None) -> Stage:
    """Convert a schedule that begins at a later step."""
    inner, skip = data.get("scheduler"), data.get("skip")
    if not isinstance(inner, Mapping) or not isinstance(skip, int):
        raise _inexpressible(data, "its inner schedule or its first step is unknown")
    stage = _stage(inner)
    stage = Stage(stage.name, {**stage.params, SKIP: skip})
    if lasts is not None and _own_length(stage) != lasts:
        stage = Stage(stage.name, {**stage.params, LASTS: lasts})
    return stage


def _own_length(stage: Stage) -> int | None:
    """Return the number of steps that a stage makes by its own parameters."""
    kind = KINDS[stage.name]
    short = {own: text for text, own in kind.short.items()}
    length = stage.params.get(short.get(str(kind.length), str(kind.length)))
    return max(0, length - stage.params.get(SKIP, 0)) if isinstance(length, int) else None


def _kind_of(data: Mapping[str, JSON]) -> str:
    names = [name for name, kind in KINDS.items() if kind.cls == data.get("name")]
    for name in reversed(names):  # kinds with fixed parameters come last
        if all(data.get(key) == value for key, value in KINDS[name].fixed.items()):
            return name
    raise _inexpressible(data, "the spec language has no name for it")


def _value(data: Mapping[str, JSON], key: str) -> JSON:
    value = data[key]
    if isinstance(value, str) and value in ("inf", "-inf", "nan"):
        return float(value)  # as JSON writes them
    quoted = isinstance(value, str) and "'" in value and '"' in value
    if isinstance(value, Mapping) or quoted:
        raise _inexpressible(data, f"the value of {key} has no text form")
    return value


def _inexpressible(data: Mapping[str, JSON], why: str) -> UsageError:
    return UsageError(f"{label_of(data)} cannot be written as a spec: {why}")
