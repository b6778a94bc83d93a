"""The learning rates of a spec in closed form, without torch.

`lrtrack.simulate` steps the classes that train; these formulas give the same curve at any steps,
all at once. They are the formulas of the classes' documentation, in the order of the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import KINDS, resolve, stages_of
from lrtrack.schedules.chain import Part, ends_of, parts_of
from lrtrack.schedules.spec import Stage

Values = NDArray[np.float64]
#: Kinds whose classes in torch set the initial rate of every schedule on the optimizer.
_ALONE = ("onecycle", "cyclic")
#: Kinds that torch refuses for some lengths, as only its class can tell.
_REFUSED = ("onecycle",)
#: The most steps of a curve: `lrtrack.simulate` refuses more.
_MOST = 10_000_000
Params = Mapping[str, Any]


def curve(spec: str, steps: int, lr: float) -> Values | None:
    """Return the learning rates of a spec over a training, for a chart.

    Args:
        spec: the text of a schedule.
        steps: the number of optimizer steps, which also fills in open lengths.
        lr: the initial learning rate.

    Returns:
        The rate of each step, shape (steps,): those of `lrtrack.simulate` but for rounding. None
        where only `lrtrack.simulate` can tell them, or what is wrong with the spec.
    """
    if steps > _MOST or not math.isfinite(lr):
        return None
    try:
        if any(part.name in _REFUSED for part in parts_of(stages_of(spec), steps)):
            return None
        return rates(spec, np.arange(steps), lr, steps)
    except UsageError:
        return None


def rates(
    spec: str | Sequence[Stage], steps: ArrayLike, lr: float, total_steps: int | None = None
) -> Values:
    """Return the learning rates of a spec.

    Args:
        spec: the text of a schedule without open parameters, or its stages.
        steps: optimizer steps, counted from 0, shape (n,).
        lr: the initial learning rate.
        total_steps: as in `lrtrack.scheduler`.

    Returns:
        The rate that each of the steps uses, shape (n,).

    Raises:
        UsageError: the spec cannot be read, or depends on more than the step.
    """
    stages = stages_of(spec) if isinstance(spec, str) else resolve(spec)
    parts = parts_of(stages, total_steps)
    alone = [part.name for part in parts if part.name in _ALONE]
    if alone and len(parts) > 1:
        raise UsageError(f"{alone[0]} in a chain changes the rates of the other parts")
    where = np.asarray(steps, dtype=np.int64)
    starts = np.array([0, *ends_of(parts)])
    active = np.searchsorted(starts, where, side="right") - 1
    values = np.empty(where.shape)
    for index, part in enumerate(parts):
        chosen = active == index
        if chosen.any():
            values[chosen] = _part_rates(part, where[chosen] - starts[index], lr)
    return values


def _part_rates(part: Part, steps: NDArray[np.int64], lr: float) -> Values:
    formula = _FORMULAS.get(part.name)
    if formula is None:
        raise UsageError(f"{part.name} depends on more than the step")
    params = {**part.params, **KINDS[part.name].fixed}
    return formula(params, (steps // part.interval + part.skip).astype(float), lr)


def _constant(params: Params, steps: Values, lr: float) -> Values:
    factor = params.get("factor", 1.0)
    length = params.get("total_iters", 0 if factor == 1 else math.inf)
    return np.where(steps < length, lr * factor, lr)


def _step(params: Params, steps: Values, lr: float) -> Values:
    return np.asarray(lr * params.get("gamma", 0.1) ** (steps // params["step_size"]))


def _multistep(params: Params, steps: Values, lr: float) -> Values:
    passed = np.searchsorted(np.sort(params["milestones"]), steps, side="right")
    return np.asarray(lr * params.get("gamma", 0.1) ** passed.astype(float))


def _exponential(params: Params, steps: Values, lr: float) -> Values:
    return np.asarray(lr * params["gamma"] ** steps)


def _cosine(params: Params, steps: Values, lr: float) -> Values:
    low = params.get("eta_min", 0.0)
    return np.asarray(low + (lr - low) * (1 + np.cos(np.pi * steps / params["T_max"])) / 2)


def _cosine_restarts(params: Params, steps: Values, lr: float) -> Values:
    low, length, growth = params.get("eta_min", 0.0), params["T_0"], params.get("T_mult", 1)
    starts, lengths = [0], [length]
    last = steps.max(initial=0)
    while growth > 1 and starts[-1] + lengths[-1] <= last:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * growth)
    cycle = np.searchsorted(starts, steps, side="right") - 1
    share = (steps - np.array(starts)[cycle]) / np.array(lengths)[cycle]
    return np.asarray(low + (lr - low) * (1 + np.cos(np.pi * (share % 1.0))) / 2)


def _onecycle(params: Params, steps: Values, lr: float) -> Values:
    high = params["max_lr"]
    first = high / params.get("div_factor", 25.0)
    last = first / params.get("final_div_factor", 1e4)
    total = params.get("total_steps") or params["epochs"] * params["steps_per_epoch"]
    peak = params.get("pct_start", 0.3) * total
    ends, levels = [peak - 1, total - 1], [first, high, last]
    if params.get("three_phase", False):
        ends, levels = [peak - 1, 2 * peak - 2, total - 1], [first, high, first, last]
    begins = [0.0, *ends[:-1]]
    # a step at a boundary belongs to the earlier phase
    phase = np.minimum(np.searchsorted(ends, steps, side="left"), len(ends) - 1)
    begin, end = np.array(begins)[phase], np.array(ends)[phase]
    span = np.where(end > begin, end - begin, 1.0)
    share = (steps - begin) / span
    if params.get("anneal_strategy", "cos") == "cos":
        share = (1 - np.cos(np.pi * share)) / 2
    low, top = np.array(levels)[phase], np.array(levels)[phase + 1]
    return np.asarray(low + (top - low) * share)


def _cyclic(params: Params, steps: Values, lr: float) -> Values:
    low, high = params["base_lr"], params["max_lr"]
    up = params.get("step_size_up", 2000)
    down = params.get("step_size_down") or up
    cycle = np.floor(1 + steps / (up + down))
    place = 1 + steps / (up + down) - cycle
    ratio = up / (up + down)
    height = np.where(place <= ratio, place / ratio, (place - 1) / (ratio - 1))
    mode = params.get("mode", "triangular")
    scale: Any = 1.0
    if mode == "triangular2":
        scale = 0.5 ** (cycle - 1)
    elif mode == "exp_range":
        scale = params.get("gamma", 1.0) ** steps
    return np.asarray(low + (high - low) * height * scale)


def _linear(params: Params, steps: Values, lr: float) -> Values:
    start, end = params.get("start_factor", 1.0 / 3), params.get("end_factor", 1.0)
    length = params.get("total_iters", 5)
    share = np.minimum(steps / length, 1.0) if length else np.ones_like(steps)
    return np.asarray(lr * (start + (end - start) * share))


def _polynomial(params: Params, steps: Values, lr: float) -> Values:
    length = params.get("total_iters", 5)
    share = np.minimum(steps / length, 1.0) if length else np.ones_like(steps)
    return np.asarray(lr * (1 - share) ** params.get("power", 1.0))


def _inverse_sqrt(params: Params, steps: Values, lr: float) -> Values:
    scale = params.get("timescale", 10_000)
    return np.asarray(lr * np.sqrt(scale / (scale + steps)))


def _one_minus_sqrt(params: Params, steps: Values, lr: float) -> Values:
    share = np.minimum(steps / params["total_iters"], 1.0)
    return np.asarray(lr * (1 - (1 - params.get("end_factor", 0.0)) * np.sqrt(share)))


def _piecewise(params: Params, steps: Values, lr: float) -> Values:
    points: Sequence[float] = params["steps"]
    return np.asarray(lr * np.interp(steps, points, params["factors"]))


_FORMULAS: Mapping[str, Callable[[Params, Values, float], Values]] = {
    "constant": _constant,
    "step": _step,
    "multistep": _multistep,
    "exponential": _exponential,
    "cosine": _cosine,
    "cosine_restarts": _cosine_restarts,
    "onecycle": _onecycle,
    "cyclic": _cyclic,
    "linear": _linear,
    "warmup": _linear,
    "polynomial": _polynomial,
    "inverse_sqrt": _inverse_sqrt,
    "one_minus_sqrt": _one_minus_sqrt,
    "piecewise": _piecewise,
}
