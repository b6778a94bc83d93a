"""Builds schedulers from specs such as `"warmup(steps=100) -> cosine(steps=900)"`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.optim import lr_scheduler

from lrtrack.capture.inverse_sqrt import InverseSqrtLR
from lrtrack.capture.optimizers import unwrap
from lrtrack.capture.own_schedulers import (
    ConstantLR,
    LinearLR,
    OneMinusSqrtLR,
    PiecewiseLR,
)
from lrtrack.capture.time_decay import TimeDecayLR
from lrtrack.capture.wrapping_schedulers import IntervalLR, SkipLR
from lrtrack.errors import UsageError
from lrtrack.schedules import CONSTANT, Schedule, spec_of
from lrtrack.schedules.catalogue import KINDS, checked, group_of, open_params, stages_of
from lrtrack.schedules.chain import Part, ends_of, parts_of
from lrtrack.schedules.params import SMALLEST, Count, OrNone
from lrtrack.schedules.spec import Stage, write

#: The key that holds the spec in a sweep's config, and under which a mapping may nest one.
SCHEDULE = "schedule"
#: Classes that torch lacks.
_OURS: Mapping[str, type] = {
    cls.__name__: cls for cls in (InverseSqrtLR, OneMinusSqrtLR, PiecewiseLR, TimeDecayLR)
}


def scheduler(
    optimizer: Any,
    spec: Any,
    total_steps: int | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> lr_scheduler.LRScheduler:
    """Build a scheduler from a spec.

    Args:
        optimizer: a `torch.optim.Optimizer`, or a wrapper with one in `.optimizer`.
        spec: text such as `"onecycle(max_lr=0.1)"`; a mapping `{"name": "onecycle", "max_lr":
            0.1}`; a list of these for a chain; or a sweep's config (`wandb.config`) with one of
            these under `schedule`, nested or flat with dots. A `Schedule` read from a run is
            rebuilt if the spec language can express it.
        total_steps: number of `step()` calls; sets the lengths that the spec leaves open.
        clock: returns seconds, for schedules that decay with time.

    Returns:
        A scheduler of torch, or of lrtrack if torch has none. A chain becomes one
        `SequentialLR`, whose parts each start from the optimizer's initial rate.

    Raises:
        UsageError: the spec cannot be read, or its parameters do not fit.
    """
    inner = unwrap(optimizer)
    fault = OrNone(Count(1)).fault(total_steps)
    if fault is not None:
        raise UsageError(f"total_steps {fault}, not {total_steps!r}")
    parts = parts_of(_stages(spec), total_steps)
    if len(parts) == 1:
        return _one(inner, parts[0], clock)
    built = [_one(inner, part, clock) for part in parts]
    return lr_scheduler.SequentialLR(inner, built, list(ends_of(parts)))


def _stages(spec: Any) -> list[Stage]:
    if isinstance(spec, str):
        return _closed(spec, {})
    if isinstance(spec, list | tuple):
        return _chain(spec)
    if isinstance(spec, Schedule):
        return stages_of(spec_of(spec))
    # a wandb.config is not a Mapping, but has keys()
    config = dict(spec) if isinstance(spec, Mapping) or hasattr(spec, "keys") else None
    if config is None:
        raise UsageError(f"a schedule must be text, a mapping or a list of these, got {spec!r}")
    nested = _undotted(config)
    if isinstance(nested, list):
        return _chain(nested)
    inner = nested.get(SCHEDULE, nested)
    if isinstance(inner, str):
        return _closed(inner, nested)
    if isinstance(inner, list | tuple):
        return _chain(inner)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise UsageError('a schedule mapping needs "name" or a text under "schedule"')
    params = {key: value for key, value in inner.items() if key != "name"}
    return _closed(write([Stage(inner["name"], params)]), {})


def _chain(links: Sequence[Any]) -> list[Stage]:
    if not links:
        raise UsageError("a chain needs at least one schedule, got an empty list")
    return [stage for link in links for stage in _stages(link)]


def _closed(text: str, config: Mapping[str, Any]) -> list[Stage]:
    """Parse a text, and take the parameters that a sweep decides from its config."""
    stages = stages_of(text)
    chosen: dict[tuple[int, str], Any] = {}
    for stage, name, _ in open_params(stages):
        group = config.get(group_of(text, stage), config.get(stage.name))
        if not isinstance(group, Mapping) or name not in group:
            raise UsageError(
                f"{stage.name}.{name} is open in {text!r}, and the sweep's config has no value "
                "for it"
            )
        chosen[stage.at, name] = group[name]
    return [
        checked(replace(s, params={n: chosen.get((s.at, n), v) for n, v in s.params.items()}))
        for s in stages
    ]


def _undotted(config: Mapping[str, Any]) -> Any:
    """Nest `{"schedule.name": …}` as `{"schedule": {"name": …}}`, and `{"0.name": …}` as a list."""
    tree: dict[str, Any] = {}
    for key, value in config.items():
        head, dot, rest = str(key).partition(".")
        if not dot:
            tree[head] = value
        elif isinstance(tree.setdefault(head, {}), dict):
            tree[head] = {**tree[head], rest: value}
    nested = {
        key: _undotted(value) if isinstance(value, Mapping) else value
        for key, value in tree.items()
    }
    if nested and all(key.isdecimal() for key in nested):
        return [nested[key] for key in sorted(nested, key=int)]
    return nested


def _one(
    optimizer: torch.optim.Optimizer, part: Part, clock: Callable[[], float]
) -> lr_scheduler.LRScheduler:
    kind = KINDS[part.name]
    assert kind.cls is not None  # compositions have been expanded
    params = {**part.params, **kind.fixed}
    if part.name == CONSTANT:
        params = _constant(params)
    missing = [name for name in kind.required if name not in params]
    if missing or (part.name == "onecycle" and not {"total_steps", "epochs"} & params.keys()):
        what = ", ".join(missing) or "total_steps"
        raise part.stage.wrong(f"{part.name} needs {what}, or scheduler(…, total_steps=…)")
    timed = {"clock": clock} if kind.cls == TimeDecayLR.__name__ else {}
    cls = _class_of(kind.cls, params)
    try:
        built: lr_scheduler.LRScheduler = cls(optimizer, **params, **timed)
        built = SkipLR(optimizer, built, part.skip) if part.skip else built
        return built if part.interval == 1 else IntervalLR(optimizer, built, part.interval)
    except (TypeError, ValueError, ArithmeticError) as error:
        who = "torch" if cls.__module__.startswith("torch") else kind.cls
        text = write([Stage(part.name, part.params)])
        raise part.stage.wrong(f"{text}: {who} says: {error}") from error


def _class_of(name: str, params: Mapping[str, Any]) -> Any:
    """Return a class of torch, or lrtrack's own if torch has none or refuses the parameters."""
    if name == "LinearLR" and params.get("start_factor", 1) < SMALLEST:
        return LinearLR
    if name == "ConstantLR" and (params["factor"] < SMALLEST or params["total_iters"] == math.inf):
        return ConstantLR
    return _OURS.get(name) or getattr(lr_scheduler, name)


def _constant(params: Mapping[str, Any]) -> dict[str, Any]:
    factor = params.get("factor", 1.0)
    # without a length, a rate of another factor lasts to the end
    return {"factor": factor, "total_iters": 0 if factor == 1 else math.inf, **params}
