"""The schedules that a spec can name, with their classes and short parameter names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lrtrack.errors import unknown
from lrtrack.schedules.params import (
    LONGEST,
    SMALLEST,
    Count,
    Flag,
    Length,
    Many,
    Number,
    OrNone,
    PerGroup,
    Type,
    Word,
)
from lrtrack.schedules.schedule import CONSTANT
from lrtrack.schedules.spec import Choice, Range, SpecError, Stage, parse

#: Parameters of a kind, with the types of their values.
Params = Mapping[str, Type]


@dataclass(frozen=True)
class Kind:
    """One kind of schedule.

    Attributes:
        cls: the class in `torch.optim.lr_scheduler`, or lrtrack's own if torch has none; None for
            a composition, which `chain.py` expands into other kinds.
        params: the parameters of the class, with the types of their values.
        required: parameters without a default.
        one_of: exactly one of these must be given.
        short: short names, `{short name: name in the class}`.
        fixed: parameters whose values the kind sets.
        length: the parameter for the schedule's number of steps, if it has one.
    """

    cls: str | None
    params: Params = field(default_factory=dict)
    required: tuple[str, ...] = ()
    short: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    length: str | None = None
    one_of: tuple[str, ...] = ()


_RATE, _FACTOR = Number(), Number()
_SHARE, _DIVISOR = Number(high=1), Number(SMALLEST, high=1e12)
_SECONDS, _PER_SECOND = Number(SMALLEST, 1e12), Number(SMALLEST)
_MOMENTUM: Params = {name: PerGroup(_SHARE) for name in ("base_momentum", "max_momentum")}

_CYCLIC: Params = {
    "base_lr": PerGroup(_RATE), "max_lr": PerGroup(_RATE), "step_size_up": Count(1),
    "step_size_down": OrNone(Count(0)), "mode": Word(("triangular", "triangular2", "exp_range")),
    "gamma": _FACTOR, "scale_mode": Word(("cycle", "iterations")), "cycle_momentum": Flag(),
    **_MOMENTUM,
}  # fmt: skip
_ONECYCLE: Params = {
    "max_lr": PerGroup(_RATE), "total_steps": OrNone(Count(1)),
    "epochs": OrNone(Count(1, "epochs")), "steps_per_epoch": OrNone(Count(1)),
    "pct_start": Number(high=1, real=True), "anneal_strategy": Word(("cos", "linear")),
    "cycle_momentum": Flag(), **_MOMENTUM, "div_factor": _DIVISOR, "final_div_factor": _DIVISOR,
    "three_phase": Flag(),
}  # fmt: skip
_PLATEAU: Params = {
    "mode": Word(("min", "max")), "factor": Number(high=1, below=True),
    "patience": Count(0, "metrics"), "threshold": Number(infinite=True),
    "threshold_mode": Word(("rel", "abs")), "cooldown": Count(0, "metrics"),
    "min_lr": PerGroup(_RATE), "eps": Number(),
}  # fmt: skip
_LINEAR: Params = {"start_factor": _SHARE, "end_factor": _SHARE, "total_iters": Count()}
_WSD: Params = {
    "total_steps": Count(1), "warmup": Length(), "stable": Length(), "decay": Length(),
    "shape": Word(("linear", "cosine", "sqrt")), "start_factor": _SHARE, "end_factor": _SHARE,
    "min_lr": _RATE,
}  # fmt: skip
_TIME: Params = {
    "rate": OrNone(_PER_SECOND), "half_life": OrNone(_SECONDS), "every": OrNone(_SECONDS),
    "factor": OrNone(Number(SMALLEST, 1, below=True)), "min_lr": _RATE,
}  # fmt: skip

#: A parameter of every kind: the number of steps in a chain after which the next schedule begins,
#: if that is not the schedule's own length.
LASTS = "lasts"
#: A parameter of every kind: the number of optimizer steps between two steps of the schedule, for
#: schedules that move once per epoch. The schedule's own lengths count its own steps.
INTERVAL = "interval"
#: A parameter of every kind: the number of its own steps that are left out at its beginning.
SKIP = "skip"
#: Parameters of every kind.
COMMON: Params = {LASTS: Count(), INTERVAL: Count(1), SKIP: Count()}

KINDS: Mapping[str, Kind] = {
    CONSTANT: Kind(
        "ConstantLR", {"factor": _SHARE, "total_iters": Count(endless=True)}, (),
        {"steps": "total_iters"}, length="total_iters",
    ),
    "step": Kind(
        "StepLR", {"step_size": Count(1), "gamma": _FACTOR}, ("step_size",),
        {"steps": "step_size", "factor": "gamma"},
    ),
    "multistep": Kind(
        "MultiStepLR", {"milestones": Many(Count()), "gamma": _FACTOR}, ("milestones",),
        {"factor": "gamma"},
    ),
    "exponential": Kind("ExponentialLR", {"gamma": _FACTOR}, ("gamma",), {"factor": "gamma"}),
    "time": Kind("TimeDecayLR", _TIME, one_of=("rate", "half_life", "every")),
    "cosine": Kind(
        "CosineAnnealingLR", {"T_max": Count(1), "eta_min": _RATE}, ("T_max",),
        {"steps": "T_max", "min_lr": "eta_min"}, length="T_max",
    ),
    "cosine_restarts": Kind(
        "CosineAnnealingWarmRestarts",
        {"T_0": Count(1), "T_mult": Count(1, "times"), "eta_min": _RATE}, ("T_0",),
        {"steps": "T_0", "factor": "T_mult", "min_lr": "eta_min"},
    ),
    "plateau": Kind("ReduceLROnPlateau", _PLATEAU),
    "onecycle": Kind(
        "OneCycleLR", _ONECYCLE, ("max_lr",), {"steps": "total_steps"}, length="total_steps"
    ),
    "cyclic": Kind(
        "CyclicLR", _CYCLIC, ("base_lr", "max_lr"), {"min_lr": "base_lr", "steps": "step_size_up"}
    ),
    "linear": Kind(
        "LinearLR", _LINEAR, (),
        {"steps": "total_iters", "start": "start_factor", "end": "end_factor"},
        length="total_iters",
    ),
    "polynomial": Kind(
        "PolynomialLR", {"total_iters": Count(), "power": _FACTOR}, (), {"steps": "total_iters"},
        length="total_iters",
    ),
    "inverse_sqrt": Kind("InverseSqrtLR", {"timescale": Number(SMALLEST, LONGEST)}),
    "one_minus_sqrt": Kind(
        "OneMinusSqrtLR", {"total_iters": Count(1), "end_factor": _SHARE}, ("total_iters",),
        {"steps": "total_iters", "end": "end_factor"}, length="total_iters",
    ),
    "piecewise": Kind(
        "PiecewiseLR",
        {"steps": Many(Count(), least=1, rising=True), "factors": Many(_FACTOR, least=1)},
        ("steps", "factors"),
    ),
    "wsd": Kind(
        None, _WSD, (), {"steps": "total_steps", "start": "start_factor", "end": "end_factor"},
        length="total_steps",
    ),
    "flat_cosine": Kind(
        None, {"total_steps": Count(1), "flat": Length(), "eta_min": _RATE}, (),
        {"steps": "total_steps", "min_lr": "eta_min"}, length="total_steps",
    ),
    "warmup": Kind(
        "LinearLR", {"start_factor": _SHARE, "total_iters": Count()}, ("total_iters",),
        {"steps": "total_iters", "start": "start_factor"}, {"end_factor": 1.0},
        length="total_iters",
    ),
}  # fmt: skip


def stages_of(text: str) -> list[Stage]:
    """Parse a spec, resolve every name to the one in the class, and check every value.

    Raises:
        SpecError: the text cannot be parsed, a name is unknown, or a value, or one that a range or
            a choice holds, has the wrong type or is out of bounds; the message gives the position.
    """
    return resolve(parse(text), text)


def resolve(stages: Iterable[Stage], text: str = "") -> list[Stage]:
    """Resolve every name in stages to the one in the class, and check every value.

    Raises:
        UsageError: as for `stages_of`; the message points into `text`, if there is one.
    """
    return [_resolved(text, stage) for stage in stages]


def _resolved(text: str, stage: Stage) -> Stage:
    kind = KINDS.get(stage.name)
    if kind is None:
        raise SpecError(text, stage.at, unknown("schedule", stage.name, KINDS))
    params: dict[str, Any] = {}
    places: dict[str, int] = {}
    for key, value in stage.params.items():
        own = kind.short.get(key, key)
        if own not in (*kind.params, *COMMON):
            names = [*kind.params, *kind.short, *COMMON]
            what = unknown(f"parameter of {stage.name}", key, names)
            raise SpecError(text, stage.places.get(key, stage.at), what)
        if own in places:
            raise SpecError(
                text,
                stage.places.get(key, stage.at),
                f"{own} is given more than once. Fix: keep one of them.",
            )
        params[own], places[own] = value, stage.places.get(key, stage.at)
    checked_stage = checked(Stage(stage.name, params, stage.at, places, text))
    _check_presence(kind, checked_stage)
    return checked_stage


def _check_presence(kind: Kind, stage: Stage) -> None:
    missing = [
        name for name in kind.required if name not in stage.params and name != kind.length
    ]  # total_steps or the chain may supply the length
    if missing:
        raise stage.wrong(f"{stage.name} needs {', '.join(missing)}.")
    chosen = [name for name in kind.one_of if name in stage.params]
    if kind.one_of and len(chosen) != 1:
        what = f"{stage.name} needs exactly one of {', '.join(kind.one_of)}."
        raise stage.wrong(what, chosen[1] if chosen else "")


def checked(stage: Stage) -> Stage:
    """Check the values of a resolved stage, and convert them to what its class takes.

    Returns:
        The stage without parameters that are `none`, which means that they are not given.

    Raises:
        UsageError: a value has the wrong type or is out of bounds.
    """
    types = {**KINDS[stage.name].params, **COMMON}
    params: dict[str, Any] = {}
    for name, value in stage.params.items():
        fault = _fault(types[name], value)
        if fault is not None:
            raise stage.wrong(_message(stage.name, name, types[name], value, fault), name)
        is_open = isinstance(value, Range | Choice)
        params[name] = value if is_open else types[name].plain(value)
    given = {name: value for name, value in params.items() if value is not None}
    return replace(stage, params=given)


def _message(kind: str, name: str, own: Type, value: Any, fault: str) -> str:
    if isinstance(own, Word) and isinstance(value, str):
        return unknown(f"{name} of {kind}", value, own.words)
    if isinstance(value, Range | Choice):
        return f"{kind}: {name} {fault}"
    shown = repr(value)
    return f"{kind}: {name} {fault}, not {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}"


#: The longest value that an error shows.
_SHOWN = 60


def _fault(own: Type, value: Any) -> str | None:
    """Return what is wrong with a value, or with the values of a range or a choice."""
    if isinstance(value, Choice):
        if not value.values:
            return "must have at least one alternative between { and }"
        if any(isinstance(item, Range) for item in value.values):
            return "must have values as its alternatives, not ranges"
        wrong = ((item, own.fault(item)) for item in value.values)
        return next((f"{fault}, not {item!r}" for item, fault in wrong if fault is not None), None)
    if not isinstance(value, Range):
        return own.fault(value)
    numeric = own
    while isinstance(numeric, OrNone | PerGroup):
        numeric = numeric.inner if isinstance(numeric, OrNone) else numeric.item
    if not isinstance(numeric, Number | Count | Length):
        return f"cannot be a range: it {own.fault(value)}"
    ends = (value.low, value.high)
    if isinstance(numeric, Length) and len({Length.is_share(end) for end in ends}) > 1:
        return "must have both ends of its range in steps, or both as shares such as 0.1"
    wrong = ((end, numeric.fault(end)) for end in ends)
    return next((f"{fault}, not {end!r}" for end, fault in wrong if fault is not None), None)


def group_of(text: str, stage: Stage) -> str:
    """Return the key of a stage's parameters in a sweep's config if its name is ambiguous."""
    return f"{stage.name}_{hashlib.sha256(f'{text} {stage.at}'.encode()).hexdigest()[:4]}"


def open_params(stages: list[Stage]) -> Iterator[tuple[Stage, str, Range | Choice]]:
    """Return the parameters that a sweep still has to choose."""
    for stage in stages:
        for name, value in stage.params.items():
            if isinstance(value, Range | Choice):
                yield stage, name, value
