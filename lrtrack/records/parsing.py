"""Checks of the mappings that runs are rebuilt from.

Journals and trackers are written by other processes and other people, so every value is checked
before it is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

#: The keys of a diagnosis: its code, what happened, what to do about it, and the prefix of the
#: block's metrics, if it has one.
DIAGNOSIS = ("code", "message", "hint", "prefix")

Types = tuple[type, ...]

TEXT: Types = (str,)
_TEXT_OR_NONE: Types = (str, type(None))

#: The types of a run's values in its mapping.
RUN: Mapping[str, Types] = {
    **dict.fromkeys(("id", "name", "prefix", "device_type", "device_name", "version"), TEXT),
    **dict.fromkeys(("host", "cwd", "source", "kind", "torch_version"), TEXT),
    **dict.fromkeys(("experiment", "group", "parent"), _TEXT_OR_NONE),
    **dict.fromkeys(("schedule", "optimizer", "config", "tags", "suggestions"), (dict,)),
    "credentials": (dict,),
    **dict.fromkeys(("world_size", "pid"), (int,)),
    "rewinds": (list, tuple),
    **dict.fromkeys(("seed", "branched_at"), (int, type(None))),
    "started": (int, float),
    "targets": (list, tuple),
}

#: The types of a target's values in its mapping.
TARGET: Mapping[str, Types] = {
    "tracker": TEXT,
    **dict.fromkeys(("uri", "experiment", "experiment_id", "run_id", "url"), _TEXT_OR_NONE),
    "parent": _TEXT_OR_NONE,
    "first": (int,),
    "phases": (list, tuple),
    **dict.fromkeys(("joined", "portable", "delivers", "thin"), (bool,)),
    "environment": (dict,),
}


def check_types(data: Mapping[str, Any], types: Mapping[str, Types]) -> None:
    """Check the values of `data` whose types are listed in `types`.

    Raises:
        TypeError: a value has another type.
    """
    for name, value in data.items():
        if name in types and not isinstance(value, types[name]):
            raise TypeError(f"{name} is of type {type(value).__name__}")


def phases_of(target: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The phases in a target's mapping.

    Raises:
        TypeError: one of them is not a mapping with an id.
    """
    phases = tuple(target.get("phases", ()))
    for phase in phases:
        if not isinstance(phase, Mapping) or not isinstance(phase.get("id"), str):
            raise TypeError("phases are mappings with the id of a block")
    return phases


def count_from(value: Any) -> int | None:
    """The number of something, from a journal or a tracker.

    Args:
        value: what was read there.

    Returns:
        An integer of at least 1 and at most 64 bits; None for anything else.
    """
    is_count = isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**63
    return value if is_count else None


def suggestions_from(data: Any) -> dict[str, float]:
    """Read a range test's suggestions from a journal or a tracker; what is no number is dropped.

    Args:
        data: method to learning rate, if it is what it should be.
    """
    if not isinstance(data, Mapping):
        return {}
    rates = {}
    for method, rate in data.items():
        with contextlib.suppress(TypeError, ValueError):
            rates[str(method)] = float(rate)
    return rates


def diagnoses_from(data: Any) -> tuple[dict[str, str], ...] | None:
    """Read diagnoses from a journal or a tracker.

    Args:
        data: a list of mappings with the keys of `DIAGNOSIS`, if it is what it should be.

    Returns:
        The entries that have a code, with every other missing text empty; None where `data` is no
        list.
    """
    if not isinstance(data, list | tuple):
        return None
    return tuple(
        {key: str(entry.get(key, "")) for key in DIAGNOSIS if key != "prefix" or entry.get(key)}
        for entry in data
        if isinstance(entry, Mapping) and entry.get("code")
    )
