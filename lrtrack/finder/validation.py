"""Checks of the arguments of `find_lr()`, before anything is changed."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrtrack.capture.optimizers import unwrap
from lrtrack.errors import UsageError, unknown
from lrtrack.records import FIND
from lrtrack.schedules import Schedule
from lrtrack.tracking.options import Options
from lrtrack.tracking.options import check as check_options

MODES = ("exp", "linear")
#: A curve needs at least so many rates.
FEWEST = 10
#: Options of `track()` that apply to the run of a range test, and their defaults.
TRACK_OPTIONS: Mapping[str, Any] = {
    "tracker": None,
    "experiment": None,
    "name": None,
    "group": None,
    "seed": None,
    "config": None,
    "tags": None,
    "flush_timeout": 10.0,
}


@dataclass(frozen=True)
class Sweep:
    """The rates to try and the condition to stop.

    Attributes:
        smoothing: weight of the past in the moving average of the losses, in [0, 1).
        stop_factor: the test stops when the smoothed loss exceeds its minimum times this factor.
    """

    start: float
    end: float
    num_steps: int
    mode: str
    smoothing: float
    stop_factor: float

    def rates(self) -> NDArray[np.float64]:
        """The learning rates of param group 0, shape (num_steps,), first `start`, last `end`."""
        spaced = np.geomspace if self.mode == "exp" else np.linspace
        return spaced(self.start, self.end, self.num_steps, dtype=np.float64)

    def schedule(self) -> Schedule:
        """The sweep of rates as a schedule, for reports and trackers."""
        return Schedule(
            "LRFinder",
            {
                "start": self.start,
                "end": self.end,
                "num_steps": self.num_steps,
                "mode": self.mode,
                "smoothing": self.smoothing,
                "stop_factor": self.stop_factor,
            },
        )

    def check(self) -> None:
        """Check all values.

        Raises:
            TypeError: a value is not a number.
            UsageError: a value is out of range; the message says which ones are valid.
        """
        for name in ("start", "end", "smoothing", "stop_factor"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise TypeError(f"find_lr(): {name} must be a number, got {value!r}.")
        if self.mode not in MODES:
            raise UsageError(unknown("mode", str(self.mode), MODES))
        if not 0 < self.start < math.inf:
            raise UsageError(f"start must be a learning rate above 0, got {self.start}.")
        if not self.start < self.end < math.inf:
            raise UsageError(
                f"end must be a learning rate above start={self.start:g}, got {self.end}."
            )
        is_integer = isinstance(self.num_steps, int) and not isinstance(self.num_steps, bool)
        if not is_integer or self.num_steps < FEWEST:
            raise UsageError(
                f"num_steps must be an integer, at least {FEWEST}; got {self.num_steps!r}."
            )
        if not 0 <= self.smoothing < 1:
            raise UsageError(f"smoothing must be in [0, 1), got {self.smoothing}.")
        if not self.stop_factor > 1:
            raise UsageError(
                f"stop_factor must be above 1 (math.inf: never stop), got {self.stop_factor}."
            )


def check(model: Any, optimizer: Any, step: Any, scheduler: Any) -> torch.optim.Optimizer:
    """Check that model, optimizer, `step` and scheduler fit together.

    Returns:
        The torch optimizer, without its wrapper if it has one.

    Raises:
        TypeError: an argument has the wrong type.
        UsageError: the optimizer trains another model, or its `step()` needs a closure.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"find_lr() expects a torch.nn.Module first, got {type(model).__name__}.")
    try:
        inner = unwrap(optimizer)
    except TypeError:
        raise TypeError(
            "find_lr() expects a torch.optim.Optimizer (or a wrapper that carries one in "
            f".optimizer) as its second argument, got {type(optimizer).__name__}."
        ) from None
    if not callable(step):
        raise TypeError(
            "find_lr() expects as its third argument a function that runs one batch forward and "
            f"backward and returns the loss, got {type(step).__name__}."
        )
    steps = callable(getattr(scheduler, "step", None))
    if scheduler is not None and (not steps or isinstance(scheduler, torch.optim.Optimizer)):
        raise TypeError(
            "find_lr() expects as scheduler an object with a step() method, got "
            f"{type(scheduler).__name__}."
        )
    _check_parameters(model, inner)
    if _needs_closure(inner):
        raise UsageError(
            f"find_lr() cannot test {type(inner).__name__}: its step() needs a closure and may "
            "try several batches or rates in one step."
        )
    return inner


def track_options(
    track: Mapping[str, Any] | None,
    model: torch.nn.Module,
    optimizer: Any,
    sweep: Sweep,
) -> Options:
    """The options of the test's run.

    Args:
        track: the user's options, by name; None: none.
        model: the model.
        optimizer: the optimizer.
        sweep: recorded as the run's schedule.

    Raises:
        TypeError: `track` is not a mapping, or has an option that does not apply.
        UsageError: an option has an invalid value.
    """
    if track is not None and not isinstance(track, Mapping):
        raise TypeError(
            'find_lr(): track must be a mapping such as {"experiment": "digits"}, got '
            f"{type(track).__name__}."
        )
    for name in track or ():
        if name not in TRACK_OPTIONS:
            raise TypeError(f"find_lr(): {unknown('option in track', str(name), TRACK_OPTIONS)}")
    options = Options(
        optimizer=optimizer,
        scheduler=sweep.schedule(),
        prefix="",
        model=model,
        norms="off",
        every=1,
        capture_loss=False,
        resume=None,
        total_steps=None,  # it stops where the loss rises
        updates=None,
        norms_every=None,
        loss_over=None,
        wandb_rows=None,
        stop_on=(),
        on_diagnosis=None,
        kind=FIND,
        **{**TRACK_OPTIONS, **(track or {})},
    )
    check_options(options)
    return options


def _check_parameters(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model_ids = {id(parameter) for parameter in model.parameters()}
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    foreign = sum(id(parameter) not in model_ids for parameter in trained)
    if foreign:
        raise UsageError(
            f"{foreign} of the optimizer's {len(trained)} parameters are not the model's and could "
            "not be restored. Fix: pass the model whose parameters the optimizer trains."
        )
    if any(torch.nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        raise UsageError(
            "The model has parameters without a shape. Fix: run a batch through it before "
            "find_lr()."
        )


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    step: Callable[..., Any] = type(optimizer).step
    try:
        closure = inspect.signature(step).parameters.get("closure")
    except (TypeError, ValueError):
        return False
    return closure is not None and closure.default is inspect.Parameter.empty
