"""Which metric of a run is its learning rate, and which of its settings the seed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lrtrack.fields import BARE, JSON, flatten, shallow

#: Names of the learning rate, the most usual first.
_RATES = ("lr", "learning_rate", "train/learning_rate", "train/lr")
#: The names that Lightning's LearningRateMonitor gives: `lr-AdamW`, `lr-AdamW-1`, `lr-AdamW/pg2`,
#: but not `lr-AdamW-momentum`.
_OF_OPTIMIZER = re.compile(r"lr-[A-Za-z_]\w*(-\d+)?(/pg\d+)?")
_LAST = ("lr", "learning_rate")
#: Names of the seed, the most usual first.
SEEDS = ("seed", "random_seed", "data_seed")
_DEVICES = ("device", "device_type", "accelerator")
_DEVICE = re.compile(r"(cpu|cuda|gpu|mps|tpu|xpu|hpu|npu)(:\d+)?")


@dataclass(frozen=True)
class Roles:
    """What the user says about runs that lrtrack did not record.

    Attributes:
        lr_metric: the metric that is the learning rate; None: the one with a usual name.
        seed_field: the setting that is the seed; None: the one with a usual name.
    """

    lr_metric: str | None = None
    seed_field: str | None = None


def rate_metric(names: Collection[str], asked: str | None = None) -> str | None:
    """The metric that is the learning rate; None if there is none.

    Args:
        names: the run's metrics.
        asked: the metric that the user named; no other one counts then.
    """
    if asked is not None:
        return asked if asked in names else None
    exact = [name for name in _RATES if name in names]
    exact += _in_order(name for name in names if _OF_OPTIMIZER.fullmatch(name))
    if exact:
        return exact[0]
    nested = [(name, name.rpartition("/")[2]) for name in names]
    inner = [name for last in _LAST for name in _in_order(n for n, own in nested if own == last)]
    inner += _in_order(n for n in names if _OF_OPTIMIZER.fullmatch(_after_path(n)))
    return inner[0] if inner else None


def flat(params: Mapping[str, JSON]) -> dict[str, JSON]:
    """Settings with dotted names; those that are nested too deeply are left out."""
    return flatten({str(name): value for name, value in params.items() if shallow(value)})


def seed_of(
    params: Mapping[str, JSON], tags: Mapping[str, str], asked: str | None = None
) -> tuple[str | None, int | None]:
    """The name of the setting that is the seed, and the seed; None for both without one.

    Args:
        params: the run's settings, with dotted names.
        tags: its tags, which only count if the user names one.
        asked: the field that the user named, with or without `config.` or `tags.`.
    """
    if asked is not None:
        values = {**{f"tags.{name}": value for name, value in tags.items()}, **params}
        own = asked.removeprefix(BARE[0])
        names = [name for name in (asked, own, f"tags.{asked}") if name in values]
        seed = _seed(values[names[0]]) if names else None
        return (names[0], seed) if seed is not None else (None, None)
    names = [*SEEDS, *_in_order(n for n in params if re.split(r"[./]", n)[-1] == SEEDS[0])]
    for name in names:
        seed = _seed(params.get(name))
        if seed is not None:
            return name, seed
    return None, None


def device_of(params: Mapping[str, JSON]) -> str:
    """The type of the device, such as `cuda`, if a setting names it; else empty."""
    for name in _DEVICES:
        value = params.get(name)
        match = _DEVICE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
        if match is not None:
            return match[1]
    return ""


def _seed(value: JSON) -> int | None:
    """A seed that fits into 64 bits, also as text or as a whole float; None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,19}(\.0*)?\s*", value):
        value = int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < 2**63 else None


def _after_path(name: str) -> str:
    """The part of a name from its `lr-` on."""
    before, found, after = name.rpartition("/lr-")
    return f"lr-{after}" if found and before else name


def _in_order(names: Iterable[str]) -> list[str]:
    """Names with the shortest path first, and numbers in numeric order."""
    return sorted(names, key=_natural)


def _natural(name: str) -> tuple[int, list[tuple[int, str]]]:
    parts = re.findall(r"\d+|\D+", name)
    return name.count("/"), [
        (int(part[:18]), "") if part[0].isdecimal() else (-1, part) for part in parts
    ]
