"""Expands a spec's stages into the parts of one chain and fills in their lengths.

`warmup(steps=100) -> flat_cosine` becomes three parts side by side, never a chain inside a chain:
torch's `SequentialLR` refuses to hold another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lrtrack.schedules.catalogue import INTERVAL, KINDS, LASTS, SKIP
from lrtrack.schedules.params import Length
from lrtrack.schedules.schedule import CONSTANT
from lrtrack.schedules.spec import Stage

#: Default shares of all steps for warm-up and decay of `wsd`. The decay is that of Hu et al.,
#: "MiniCPM" (2024), who find a tenth of the steps enough.
_WARMUP, _DECAY = 0.05, 0.1
#: Default share of all steps before the cosine of `flat_cosine` begins.
_FLAT = 0.72
#: Kinds whose class divides by its number of steps.
_DIVIDING = ("linear", "polynomial", "warmup")
#: Kinds whose rate at a step depends on metrics or the clock.
_UNPREDICTABLE = ("plateau", "time")


@dataclass(frozen=True)
class Part:
    """One scheduler of a chain.

    Attributes:
        name: the kind, which has a class.
        params: the arguments of the class, by their names there.
        lasts: steps until the next part begins; None if unknown.
        stage: the stage it comes from, for errors.
        interval: optimizer steps between two steps of the scheduler.
        skip: how many of the scheduler's own steps are left out at its beginning.
    """

    name: str
    params: Mapping[str, Any]
    lasts: int | None
    stage: Stage
    interval: int = 1
    skip: int = 0


def parts_of(stages: Sequence[Stage], total_steps: int | None = None) -> list[Part]:
    """Return the parts that a spec is built of; all but the last have a length.

    Args:
        stages: the result of `stages_of`, with nothing left open.
        total_steps: number of `step()` calls; the last stage takes what is left of it.

    Raises:
        UsageError: a length is missing or impossible, or a schedule cannot be in a chain.
    """
    parts: list[Part] = []
    for at, stage in enumerate(stages):
        last = at == len(stages) - 1
        if stage.name == "plateau" and len(stages) > 1:
            raise stage.wrong(
                "plateau needs a metric at each step, so it cannot be part of a chain"
            )
        if last and LASTS in stage.params:
            raise stage.wrong(
                f"{stage.name} is the last schedule, so {LASTS} has no effect. Fix: remove it",
                LASTS,
            )
        before = sum(part.lasts or 0 for part in parts)
        parts += _parts(stage, _rest(stage, total_steps, before) if last else None)
        if not last and parts[-1].lasts is None:
            own = KINDS[stage.name].length
            what = f"{own}=… or {LASTS}=…" if own else f"{LASTS}=…"
            raise stage.wrong(
                f"{stage.name} needs {what}, so that the next schedule knows where to begin"
            )
    if parts[-1].name in _DIVIDING and parts[-1].params.get("total_iters") == 0:
        stage = parts[-1].stage
        raise stage.wrong(f"{stage.name} is the last schedule, so it needs a step", "total_iters")
    # drop parts of length 0, unless nothing else remains
    return [part for part in parts[:-1] if part.lasts] + parts[-1:]


def _rest(stage: Stage, total_steps: int | None, before: int) -> int | None:
    if total_steps is None or KINDS[stage.name].length is None:
        return None
    if KINDS[stage.name].length in stage.params or stage.name == CONSTANT:
        return None  # its length is given, or does not matter
    if total_steps <= before:
        raise stage.wrong(f"total_steps={total_steps} leaves no steps for {stage.name}")
    return total_steps - before


def _parts(stage: Stage, rest: int | None) -> list[Part]:
    """Return the parts of one stage; the last part carries the stage's own `lasts`."""
    params = dict(stage.params)
    lasts, interval = params.pop(LASTS, None), params.pop(INTERVAL, 1)
    skip = _skip(stage, params)
    if lasts == 0:  # it never runs, and its length may not be 0
        return [Part(CONSTANT, {"total_iters": 0}, 0, stage)]
    length = KINDS[stage.name].length
    if {"epochs", "steps_per_epoch"} <= params.keys():  # a onecycle whose length is given in epochs
        length, own = None, params["epochs"] * params["steps_per_epoch"]
    else:
        filled = lasts if rest is None else rest
        if length is not None and length not in params and filled is not None:
            params[length] = skip + -(-filled // interval)
        own = params.get(length) if length else None
    if stage.name not in _EXPANDERS:
        ends = None if own is None or own == math.inf else max(0, own - skip) * interval
        return [Part(stage.name, params, ends if lasts is None else lasts, stage, interval, skip)]
    expanded = [
        replace(part, lasts=(part.lasts or 0) * interval, interval=interval)
        for part in _entered(_EXPANDERS[stage.name](stage, params), skip)
    ]
    if lasts is not None:
        inner = sum(part.lasts or 0 for part in expanded[:-1])
        if lasts < inner:
            raise stage.wrong(f"{LASTS}={lasts} ends before its last part begins", LASTS)
        expanded[-1] = replace(expanded[-1], lasts=lasts - inner)
    return expanded


def _skip(stage: Stage, params: dict[str, Any]) -> int:
    if stage.name == "plateau" and stage.params.get(INTERVAL, 1) > 1:
        raise stage.wrong(f"plateau moves with its metric, so it has no {INTERVAL}", INTERVAL)
    skip: int = params.pop(SKIP, 0)
    if skip and stage.name in _UNPREDICTABLE:
        raise stage.wrong(f"{stage.name} depends on more than the step, so it has no {SKIP}", SKIP)
    return skip


def _entered(parts: Sequence[Part], skip: int) -> Iterator[Part]:
    """Return the parts of a composition without its first `skip` steps."""
    for part in parts:
        passed = min(skip, part.lasts or 0)
        skip -= passed
        if passed < (part.lasts or 0) or part is parts[-1]:
            yield replace(part, lasts=(part.lasts or 0) - passed, skip=passed + skip)


def _share(value: Any, total: int) -> int:
    """Return a number of steps, from a number or from a share of `total`."""
    return round(value * total) if Length.is_share(value) else int(value)


def _total(stage: Stage, params: Mapping[str, Any]) -> int:
    if "total_steps" not in params:
        raise stage.wrong(f"{stage.name} needs steps=…, or scheduler(…, total_steps=…)")
    return int(params["total_steps"])


def _wsd(stage: Stage, params: dict[str, Any]) -> list[Part]:
    """Expand a warm-up, a stable rate, then a decay (Hu et al., "MiniCPM", 2024)."""
    warmup, decay = params.get("warmup", _WARMUP), params.get("decay", _DECAY)
    stable = params.get("stable")
    if "total_steps" not in params and stable is not None:
        fixed = [stable, warmup, decay]
        if not any(map(Length.is_share, fixed)):
            params["total_steps"] = sum(fixed)
    total = _total(stage, params)
    first, last = _share(warmup, total), _share(decay, total)
    if Length.is_share(warmup) and Length.is_share(decay) and warmup + decay <= 1:
        last = min(last, total - first)  # two halves of 3 steps would be 4
    middle = total - first - last
    if stable is not None and _share(stable, total) != middle:
        raise stage.wrong(
            f"wsd: warmup={first}, stable={stable} and decay={last} do not add up to {total} steps"
        )
    if middle < 0:
        raise stage.wrong(f"wsd: warmup={first} and decay={last} do not fit into {total} steps")
    start = {key: params[key] for key in ("start_factor",) if key in params}
    parts = [
        Part("warmup", {**start, "total_iters": first}, first, stage),
        Part(CONSTANT, {"total_iters": middle}, middle, stage),
        Part(*_decay(stage, params, last), last, stage),
    ]
    return [part for part in parts if part.lasts]


def _decay(stage: Stage, params: Mapping[str, Any], steps: int) -> tuple[str, dict[str, Any]]:
    """Return kind and parameters of the decay at the end of a `wsd`."""
    shape = params.get("shape", "linear")
    right, other = ("min_lr", "end_factor") if shape == "cosine" else ("end_factor", "min_lr")
    if other in params:
        what = f"wsd with a {shape} decay ends at {right}=…, not at {other}=…"
        raise stage.wrong(what, other)
    if shape == "linear":
        end = params.get("end_factor", 0.0)
        return "linear", {"start_factor": 1.0, "end_factor": end, "total_iters": steps}
    if shape == "sqrt":
        return "one_minus_sqrt", {"end_factor": params.get("end_factor", 0.0), "total_iters": steps}
    return "cosine", {"T_max": steps, "eta_min": params.get("min_lr", 0.0)}


def _flat_cosine(stage: Stage, params: dict[str, Any]) -> list[Part]:
    """Expand a constant rate, followed by a cosine decay."""
    total = _total(stage, params)
    flat = _share(params.get("flat", _FLAT), total)
    if flat >= total:
        what = f"flat_cosine: flat={flat} leaves none of the {total} steps for the cosine"
        raise stage.wrong(what, "flat")
    end = {"eta_min": params["eta_min"]} if "eta_min" in params else {}
    parts = [
        Part(CONSTANT, {"total_iters": flat}, flat, stage),
        Part("cosine", {"T_max": total - flat, **end}, total - flat, stage),
    ]
    return [part for part in parts if part.lasts]


_EXPANDERS: Mapping[str, Callable[[Stage, dict[str, Any]], list[Part]]] = {
    "wsd": _wsd,
    "flat_cosine": _flat_cosine,
}


def ends_of(parts: Sequence[Part]) -> Iterator[int]:
    """Return the steps at which the next part begins."""
    end = 0
    for part in parts[:-1]:
        assert part.lasts is not None
        end += part.lasts
        yield end
