"""The schedules that a spec can name, with their classes and short parameter names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lrtrack.errors import unknown
from lrtrack.schedules.schedule import CONSTANT
from lrtrack.schedules.spec import Choice, Range, SpecError, Stage, parse


@dataclass(frozen=True)
class Kind:
    """One kind of schedule.

    Attributes:
        cls: the class in `torch.optim.lr_scheduler`, or lrtrack's own if torch has none; None for
            a composition, which `chain.py` expands into other kinds.
        params: the parameters of the class.
        required: parameters without a default.
        one_of: exactly one of these must be given.
        short: short names, `{short name: name in the class}`.
        fixed: parameters whose values the kind sets.
        length: the parameter for the schedule's number of steps, if it has one.
    """

    cls: str | None
    params: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    short: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    length: str | None = None
    one_of: tuple[str, ...] = ()


_CYCLIC = (
    "base_lr", "max_lr", "step_size_up", "step_size_down", "mode", "gamma", "scale_mode",
    "cycle_momentum", "base_momentum", "max_momentum",
)  # fmt: skip
_ONECYCLE = (
    "max_lr", "total_steps", "epochs", "steps_per_epoch", "pct_start", "anneal_strategy",
    "cycle_momentum", "base_momentum", "max_momentum", "div_factor", "final_div_factor",
    "three_phase",
)  # fmt: skip
_PLATEAU = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr",
            "eps")  # fmt: skip
_LINEAR = ("start_factor", "end_factor", "total_iters")
_WSD = ("total_steps", "warmup", "stable", "decay", "shape", "start_factor", "end_factor", "min_lr")

#: A parameter of every kind: the number of steps in a chain after which the next schedule begins,
#: if that is not the schedule's own length.
LASTS = "lasts"
#: A parameter of every kind: the number of optimizer steps between two steps of the schedule, for
#: schedules that move once per epoch. The schedule's own lengths count its own steps.
INTERVAL = "interval"
#: Parameters of every kind.
COMMON = (LASTS, INTERVAL)

KINDS: Mapping[str, Kind] = {
    CONSTANT: Kind(
        "ConstantLR", ("factor", "total_iters"), (), {"steps": "total_iters"}, length="total_iters"
    ),
    "step": Kind(
        "StepLR", ("step_size", "gamma"), ("step_size",), {"steps": "step_size", "factor": "gamma"}
    ),
    "multistep": Kind(
        "MultiStepLR", ("milestones", "gamma"), ("milestones",), {"factor": "gamma"}
    ),
    "exponential": Kind("ExponentialLR", ("gamma",), ("gamma",), {"factor": "gamma"}),
    "time": Kind(
        "TimeDecayLR", ("rate", "half_life", "every", "factor", "min_lr"),
        one_of=("rate", "half_life", "every"),
    ),
    "cosine": Kind(
        "CosineAnnealingLR", ("T_max", "eta_min"), ("T_max",),
        {"steps": "T_max", "min_lr": "eta_min"}, length="T_max",
    ),
    "cosine_restarts": Kind(
        "CosineAnnealingWarmRestarts", ("T_0", "T_mult", "eta_min"), ("T_0",),
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
        "PolynomialLR", ("total_iters", "power"), (), {"steps": "total_iters"},
        length="total_iters",
    ),
    "inverse_sqrt": Kind("InverseSqrtLR", ("timescale",)),
    "one_minus_sqrt": Kind(
        "OneMinusSqrtLR", ("total_iters", "end_factor"), ("total_iters",),
        {"steps": "total_iters", "end": "end_factor"}, length="total_iters",
    ),
    "piecewise": Kind("PiecewiseLR", ("steps", "factors"), ("steps", "factors")),
    "wsd": Kind(
        None, _WSD, (), {"steps": "total_steps", "start": "start_factor", "end": "end_factor"},
        length="total_steps",
    ),
    "flat_cosine": Kind(
        None, ("total_steps", "flat", "eta_min"), (),
        {"steps": "total_steps", "min_lr": "eta_min"}, length="total_steps",
    ),
    "warmup": Kind(
        "LinearLR", ("start_factor", "total_iters"), ("total_iters",),
        {"steps": "total_iters", "start": "start_factor"}, {"end_factor": 1.0},
        length="total_iters",
    ),
}  # fmt: skip


def stages_of(text: str) -> list[Stage]:
    """Parse a spec and resolve every name to the one in the class.

    Raises:
        SpecError: the text cannot be parsed, or a name is unknown; the message gives the position
            and the known names.
    """
    return resolve(parse(text), text)


def resolve(stages: Iterable[Stage], text: str) -> list[Stage]:
    """Resolve every name in stages to the one in the class.

    Raises:
        SpecError: a name is unknown; the message points into `text`.
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
        if own in params:
            raise SpecError(
                text,
                stage.places.get(key, stage.at),
                f"{own} is given more than once. Fix: keep one of them.",
            )
        params[own], places[own] = value, stage.places.get(key, stage.at)
    missing = [
        name for name in kind.required if name not in params and name != kind.length
    ]  # total_steps or the chain may supply the length
    if missing:
        raise SpecError(text, stage.at, f"{stage.name} needs {', '.join(missing)}.")
    chosen = [name for name in kind.one_of if name in params]
    if kind.one_of and len(chosen) != 1:
        at = places[chosen[1]] if chosen else stage.at
        raise SpecError(text, at, f"{stage.name} needs exactly one of {', '.join(kind.one_of)}.")
    return Stage(stage.name, params, stage.at, places, text)


def group_of(text: str, stage: Stage) -> str:
    """Return the key of a stage's parameters in a sweep's config if its name is ambiguous."""
    return f"{stage.name}_{hashlib.sha256(f'{text} {stage.at}'.encode()).hexdigest()[:4]}"


def open_params(stages: list[Stage]) -> Iterator[tuple[Stage, str, Range | Choice]]:
    """Return the parameters that a sweep still has to choose."""
    for stage in stages:
        for name, value in stage.params.items():
            if isinstance(value, Range | Choice):
                yield stage, name, value
