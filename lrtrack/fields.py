"""Values and field names of a run: JSON values as text, nested mappings as dotted names.

Tags, params, filters, groups, data frames and reports all take their names from here, so that
`config.model.depth` is the same field everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lrtrack.errors import UsageError, unknown

#: A value of a run: text, number, truth value, None, or lists and mappings of these.
JSON = Any

#: The deepest accepted nesting of lists and mappings; no real configuration is deeper, and
#: Python's recursion limit is not far beyond it.
DEEPEST = 100

#: Where a bare name such as `lr` is looked up when it is no field itself.
BARE = ("config.", "tags.")

#: Fields that compare as text even where they look like numbers: an id such as `12e45678` is
#: hexadecimal, and a run named `007` is not the run named `7`.
TEXT = frozenset(
    {
        "run_id", "name", "group", "experiment", "kind", "prefix", "state", "tracker",
        "schedule", "scheduler.id", "scheduler.name", "scheduler.spec", "optimizer.name",
        "device.type", "device.name", "host", "version", "torch.version",
    }
)  # fmt: skip

_OF_A_THING = {"scheduler": "scheduler.name", "optimizer": "optimizer.name"}
_DEVICE = ("device.type", "device.name")


def flatten(
    data: Mapping[str, JSON], before: str = "", *, separator: str = ".", lists: bool = False
) -> dict[str, JSON]:
    """Flatten nested mappings into one, with joined keys.

    Args:
        data: the nested mapping. An inner mapping without entries stays as a value.
        before: a prefix of all keys.
        separator: what joins outer and inner keys.
        lists: whether lists that hold mappings are opened too, by position: `schedulers.0.name`.

    Returns:
        Joined key to value, in the order of `data`.
    """
    flat: dict[str, JSON] = {}
    for name, value in data.items():
        inner: JSON = value
        if lists and isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            inner = {str(position): item for position, item in enumerate(value)}
        if isinstance(inner, Mapping) and inner:
            key = f"{before}{name}{separator}"
            flat |= flatten(inner, key, separator=separator, lists=lists)
        else:
            flat[f"{before}{name}"] = value
    return flat


def resolve(name: str, known: Collection[str]) -> str | None:
    """Find the field that a user means by `name`.

    The exact field comes first. Without one, a bare name stands for `config.NAME` or `tags.NAME`,
    and `scheduler` and `optimizer` stand for `scheduler.name` and `optimizer.name`.

    Args:
        name: the name as the user wrote it.
        known: the fields that any of the runs has.

    Returns:
        The field's full name; None where no run has it.

    Raises:
        UsageError: the name has two meanings, as `device` always has.
    """
    if name in known:
        return name
    fields = [prefix + name for prefix in BARE if prefix + name in known]
    if not fields and name == "device":
        fields = list(_DEVICE)
    if len(fields) > 1:
        raise UsageError(
            f"The field {name!r} is ambiguous. Fix: write {' or '.join(fields)} instead."
        )
    if not fields:
        alias = _OF_A_THING.get(name)
        return alias if alias in known else None
    return fields[0]


def names_of(runs: Iterable[Mapping[str, JSON]]) -> set[str]:
    """The names of all fields that at least one of the runs has."""
    return {name for fields in runs for name in fields}


def unknown_field(purpose: str, name: str, known: Collection[str]) -> UsageError:
    """The error for a field that no run has, with the nearest names.

    Args:
        purpose: what the field was meant for, such as `group by`.
        name: the name as the user wrote it.
        known: the fields that the runs have.
    """
    bare = {field.removeprefix(prefix) for field in known for prefix in BARE}
    return UsageError(unknown(f"field to {purpose}", name, {*known, *bare}))


def text_of(value: JSON) -> str:
    """A value as tags and params show it: text unchanged, everything else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(plain(value), ensure_ascii=False, sort_keys=True)


def plain(value: JSON) -> JSON:
    """Copy `value` into what strict JSON can hold; NaN and infinities become text."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def shallow(value: JSON, deepest: int = DEEPEST) -> bool:
    """Whether lists and mappings in `value` are nested at most `deepest` levels."""
    layer = [value]
    for _ in range(deepest + 1):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list | tuple)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return True
    return False
