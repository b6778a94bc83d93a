"""Schedulers out of specs: `scheduler(optimizer, "warmup(steps=100) -> cosine(steps=900)")`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import lr_scheduler

from lrtrack.capture.optimizers import unwrap
from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import KINDS, group_of, open_params, stages_of
from lrtrack.schedules.spec import Stage, write

#: Where a sweep's config holds the spec, and where a mapping may nest one.
SCHEDULE = "schedule"


def scheduler(optimizer: Any, spec: Any, total_steps: int | None = None) -> Any:
    """Build a scheduler from a spec.

    Args:
        optimizer: a `torch.optim.Optimizer`, or a wrapper that carries one in `.optimizer`.
        spec: text such as `"onecycle(max_lr=0.1)"`; a mapping `{"name": "onecycle", "max_lr":
            0.1}`; or a sweep's config (`wandb.config`) that has one of these under `schedule`.
        total_steps: how often `step()` will be called; fills in what the spec leaves open.

    Returns:
        A scheduler of torch's own; a chain becomes a `SequentialLR`.

    Raises:
        UsageError: the spec cannot be read, or its parameters do not fit.
    """
    stages = _stages(spec)
    inner = unwrap(optimizer)
    lengths = _lengths(stages, total_steps)
    if len(stages) == 1:
        return _one(inner, stages[0], lengths[0])
    if any(stage.name == "plateau" for stage in stages):
        raise UsageError("plateau waits for a metric, so it cannot be a part of a chain")
    ends: list[int] = []
    for stage, length in zip(stages[:-1], lengths[:-1], strict=True):
        if length is None:
            raise UsageError(f"{stage.name} needs steps=…: the next schedule begins after it")
        ends.append((ends[-1] if ends else 0) + length)
    parts = [_one(inner, stage, length) for stage, length in zip(stages, lengths, strict=True)]
    return lr_scheduler.SequentialLR(inner, parts, ends)


def _stages(spec: Any) -> list[Stage]:
    if isinstance(spec, str):
        return _closed(spec, {})
    # a wandb.config is no Mapping, but has keys()
    found = dict(spec) if isinstance(spec, Mapping) or hasattr(spec, "keys") else None
    if found is None:
        raise UsageError(f"a schedule is a text or a mapping, got {spec!r}")
    nested = _undotted(found)
    inner = nested.get(SCHEDULE, nested)
    if isinstance(inner, str):
        return _closed(inner, nested)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise UsageError('a schedule needs "name", or a text under "schedule"')
    params = {key: value for key, value in inner.items() if key != "name"}
    return stages_of(write([Stage(inner["name"], params)]))


def _closed(text: str, config: Mapping[str, Any]) -> list[Stage]:
    """The stages of a text, what a sweep decides taken from its config."""
    stages = stages_of(text)
    chosen: dict[tuple[int, str], Any] = {}
    for stage, name, _ in open_params(stages):
        group = config.get(group_of(text, stage), config.get(stage.name))
        if not isinstance(group, Mapping) or name not in group:
            raise UsageError(
                f"{stage.name}.{name} is open in {text!r}: the sweep's config does not decide it"
            )
        chosen[stage.at, name] = group[name]
    return [
        Stage(s.name, {n: chosen.get((s.at, n), v) for n, v in s.params.items()}, s.at, s.places)
        for s in stages
    ]


def _undotted(config: Mapping[str, Any]) -> dict[str, Any]:
    """`{"schedule.name": …}` as `{"schedule": {"name": …}}`."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        head, dot, rest = str(key).partition(".")
        if not dot:
            found[head] = value
        elif isinstance(found.setdefault(head, {}), dict):
            found[head][rest] = value
    return found


def _lengths(stages: list[Stage], total_steps: int | None) -> list[int | None]:
    """How many steps each stage lasts; the last one takes what is left of the total."""
    found: list[int | None] = []
    for stage in stages:
        length = KINDS[stage.name].length
        value = stage.params.get(length) if length else None
        if value is not None and not isinstance(value, int):
            raise UsageError(f"{stage.name}: {length} is a whole number of steps, not {value!r}")
        found.append(value)
    before = sum(length or 0 for length in found[:-1])
    if found[-1] is None and total_steps is not None and KINDS[stages[-1].name].length:
        if total_steps <= before:
            raise UsageError(f"total_steps={total_steps} leaves nothing for {stages[-1].name}")
        found[-1] = total_steps - before
    return found


def _one(optimizer: torch.optim.Optimizer, stage: Stage, length: int | None) -> Any:
    kind = KINDS[stage.name]
    params = {**stage.params, **kind.fixed}
    if kind.length is not None and length is not None:
        params.setdefault(kind.length, length)
    if kind.torch is None:
        return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
    missing = [name for name in kind.required if name not in params]
    if missing or (stage.name == "onecycle" and not {"total_steps", "epochs"} & params.keys()):
        what = ", ".join(missing) or "total_steps"
        raise UsageError(f"{stage.name} needs {what}, or scheduler(…, total_steps=…)")
    try:
        return getattr(lr_scheduler, kind.torch)(optimizer, **params)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{write([stage])}: torch says: {error}") from error
