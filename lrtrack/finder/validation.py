"""What the user asked `find_lr()` for, checked before anything moves."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrtrack.capture.optimizers import unwrap
from lrtrack.errors import UsageError, unknown
from lrtrack.schedules import Schedule

MODES = ("exp", "linear")
#: Fewer rates than this make no curve.
FEWEST = 10


@dataclass(frozen=True)
class Sweep:
    """The rates to try, and when to stop.

    Attributes:
        smoothing: weight of the past in the moving average of the losses, in [0, 1).
        stop_factor: the smoothed loss may be so many times its smallest value.
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
        """The sweep as reports and trackers show it."""
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
        """Refuse what is no sweep.

        Raises:
            TypeError: something that is no number.
            UsageError: a value that cannot be; the message says which one can.
        """
        for name in ("start", "end", "smoothing", "stop_factor"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise TypeError(f"find_lr(): {name} must be a number, got {value!r}")
        if self.mode not in MODES:
            raise UsageError(unknown("mode", str(self.mode), MODES))
        if not 0 < self.start < math.inf:
            raise UsageError(f"start must be a learning rate above 0, got {self.start}")
        if not self.start < self.end < math.inf:
            raise UsageError(
                f"end must be a learning rate above start={self.start:g}, got {self.end}"
            )
        whole = isinstance(self.num_steps, int) and not isinstance(self.num_steps, bool)
        if not whole or self.num_steps < FEWEST:
            raise UsageError(
                f"num_steps must be a whole number, at least {FEWEST}; got {self.num_steps!r}"
            )
        if not 0 <= self.smoothing < 1:
            raise UsageError(f"smoothing must be in [0, 1), got {self.smoothing}")
        if not self.stop_factor > 1:
            raise UsageError(
                f"stop_factor must be above 1 (math.inf: never stop), got {self.stop_factor}"
            )


def check(model: Any, optimizer: Any, step: Any, scheduler: Any) -> torch.optim.Optimizer:
    """Refuse what does not belong together.

    Returns:
        torch's optimizer, inside a wrapper where there is one.

    Raises:
        TypeError: an argument is of the wrong kind.
        UsageError: the optimizer is not the model's, or cannot be stepped from here.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"find_lr() expects a torch.nn.Module first, got {type(model).__name__}")
    try:
        inner = unwrap(optimizer)
    except TypeError:
        raise TypeError(
            "find_lr() expects a torch.optim.Optimizer (or a wrapper that carries one in "
            f".optimizer) as its second argument, got {type(optimizer).__name__}"
        ) from None
    if not callable(step):
        raise TypeError(
            "find_lr() expects as its third argument a function that runs one batch forward and "
            f"backward and returns the loss, got {type(step).__name__}"
        )
    steps = callable(getattr(scheduler, "step", None))
    if scheduler is not None and (not steps or isinstance(scheduler, torch.optim.Optimizer)):
        raise TypeError(
            "find_lr() expects as scheduler an object with a step() method, got "
            f"{type(scheduler).__name__}"
        )
    _check_parameters(model, inner)
    if _needs_closure(inner):
        raise UsageError(
            f"find_lr() cannot test {type(inner).__name__}: its step() needs a closure and tries "
            "several batches or rates in one step"
        )
    return inner


def _check_parameters(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    known = {id(parameter) for parameter in model.parameters()}
    given = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    strange = sum(id(parameter) not in known for parameter in given)
    if strange:
        raise UsageError(
            f"{strange} of the optimizer's {len(given)} parameters are not the model's, and could "
            "not be restored: give find_lr() the model that the optimizer was made for"
        )
    if any(torch.nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        raise UsageError(
            "The model has parameters without a shape yet: run a batch through it before find_lr()"
        )


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    step: Callable[..., Any] = type(optimizer).step
    try:
        closure = inspect.signature(step).parameters.get("closure")
    except (TypeError, ValueError):
        return False
    return closure is not None and closure.default is inspect.Parameter.empty
