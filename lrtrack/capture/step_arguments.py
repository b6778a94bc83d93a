"""The arguments that a scheduler's `step` needs: none, a metric, or the epoch.

torch's schedulers count themselves, plateau schedulers take a metric, and those of timm and
fairseq take the epoch, with a second method `step_update` that takes the number of updates. The
names of the parameters say which is which.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrtrack.capture.describe import INNER
from lrtrack.capture.nested_schedulers import nested
from lrtrack.errors import UsageError

#: Parameters that take a count, which a simulation knows.
_COUNT = re.compile(
    r"((current|cur|global|num|n|total|train|training)_)?"
    r"(epoch|step|update|iter|iteration|batch)(es|s)?(_(num|count|idx|index))?|t"
)
_METRIC = re.compile(r"(\w+_)?(metrics?|loss|score|value)")
#: The metric of a plateau schedule if none is given: it never improves.
_FLAT_METRIC = 1.0
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
#: Maximum depth to which wrappers around wrappers are opened.
_DEPTH = 10


@dataclass(frozen=True)
class _Form:
    """What one method takes.

    Attributes:
        counts: parameters that take the count.
        metric: the parameter that takes the metric, if there is one.
        metric_required: whether it has no default.
        positional: whether the arguments have no names, which is rare.
    """

    counts: tuple[str, ...] = ()
    metric: str | None = None
    metric_required: bool = False
    positional: bool = False


def stepper(scheduler: Any, metrics: Sequence[float], steps: int) -> Callable[[int], Any]:
    """Return a function that steps a scheduler, given how many steps the simulation has made.

    A scheduler that takes the epoch is given `last_epoch` plus that number, or the number alone if
    it has no `last_epoch`.

    Args:
        scheduler: the scheduler, which `step` changes.
        metrics: a value for each step; empty if none are given.
        steps: how many steps there will be.

    Raises:
        UsageError: `step` needs a metric and there is none, or something else that is unknown.
    """
    forms = [(scheduler.step, _form(scheduler, "step"))]
    if forms[0][1] == _Form() and not metrics:
        return lambda count: scheduler.step()
    update = getattr(scheduler, "step_update", None)
    if forms[0][1].counts and callable(update):
        forms.insert(0, (update, _form(scheduler, "step_update")))
    values: Sequence[float] = metrics
    if not metrics and any(isinstance(part, ReduceLROnPlateau) for part in nested(scheduler)):
        values = [_FLAT_METRIC] * steps
    for _, form in forms if steps and not values else ():
        if form.metric_required:
            raise UsageError(
                f"{type(scheduler).__name__}.step() needs a metric ({form.metric}) at each step, "
                "and none was given. Fix: pass metrics=[…] with one value after each step but the "
                "last."
            )
    last = getattr(scheduler, "last_epoch", None)
    begin = last if isinstance(last, int) and last > 0 else 0

    def step(count: int) -> None:
        for method, form in forms:
            metric = values[count - 1] if values else None
            _call(method, form, begin + count, metric)

    return step


def _call(method: Callable[..., Any], form: _Form, count: int, metric: float | None) -> None:
    arguments: dict[str, Any] = dict.fromkeys(form.counts, count)
    if form.metric is not None and metric is not None:
        arguments[form.metric] = metric
    if form.positional:
        method(*arguments.values())
    else:
        method(**arguments)


def _form(scheduler: Any, method: str) -> _Form:
    """Read what a method takes; for a wrapper that passes everything on, what the inner one does.

    Raises:
        UsageError: it needs several arguments that are neither counts nor a metric.
    """
    parameters: list[inspect.Parameter] = []
    thing = scheduler
    for _ in range(_DEPTH):
        try:
            parameters = list(inspect.signature(getattr(thing, method)).parameters.values())
        except (AttributeError, TypeError, ValueError):  # written in C
            return _Form()
        if not any(parameter.kind in _VARIABLE for parameter in parameters):
            break
        held = [getattr(thing, name, None) for name in INNER]
        inner = [part for part in held if hasattr(part, method)]
        if not inner:
            break
        thing = inner[0]
    return _read(scheduler, method, parameters)


def _read(scheduler: Any, method: str, parameters: Sequence[inspect.Parameter]) -> _Form:
    usual = [p for p in parameters if p.kind not in _VARIABLE]
    required = [p for p in usual if p.default is p.empty]
    counts = tuple(p.name for p in required if _COUNT.fullmatch(p.name))
    others = [p.name for p in required if p.name not in counts]
    if len(others) > 1:
        raise UsageError(
            f"{type(scheduler).__name__}.{method}() needs {', '.join(others)}, of which only a "
            "metric could be given, so it cannot be simulated."
        )
    optional = [p.name for p in usual if p.kind in _NAMED and _METRIC.fullmatch(p.name)]
    metric = next(iter([*others, *optional]), None)
    positional = any(p.kind not in _NAMED for p in required)
    return _Form(counts, metric, bool(others), positional)
