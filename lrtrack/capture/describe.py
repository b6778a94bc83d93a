"""`describe()` turns any scheduler into a `Schedule`.

A parameter is a constructor argument that the instance keeps. torch keeps some under other names,
or only in the optimizer's param groups; `READERS` knows where. State that changes during training
is left out: a description is the same before, during and after it.

Frameworks whose schedulers are not stepped by torch's `step()` register them in `READERS` and
`OPENERS`, in their file in `integrations/`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.optim import lr_scheduler as torch_schedulers
from torch.optim.swa_utils import SWALR

from lrtrack.capture.function_names import function_text
from lrtrack.capture.safe_access import MISSING, lookup, number, plain_value, public
from lrtrack.capture.time_decay import TimeDecayLR
from lrtrack.fields import JSON
from lrtrack.schedules import CONSTANT, Schedule

#: Attributes in which schedulers keep the scheduler that they wrap.
INNER = ("scheduler", "lr_scheduler")
#: Constructor arguments that do not describe the schedule.
_NOT_PARAMETERS = {"self", "optimizer", "optimizers", "last_epoch", "verbose", "save_history"}
#: Attributes that are state, in schedulers whose constructor names no parameters.
_STATE = re.compile(
    r"optimizers?|base_lrs|verbose|best|finished|T_cur|T_i|num_bad_epochs|counter|\w+_counter|"
    r"((last|current|cur|global|num|n)_)?(lrs?|step|epoch|iter|iteration|update|batch)"
    r"(_(num|count|idx|index))?"
)
#: The longest list or mapping copied from such a scheduler.
_SHORT = 32
#: Maximum depth to which wrappers around wrappers are opened.
_DEPTH = 10
#: Significant digits of a reconstructed value; fewer if it comes from 32-bit tensors.
_DIGITS, _DIGITS_OF_TENSORS = 12, 6

_Reader = Callable[[Any], Any]
#: Classes of wrappers that do not use `.scheduler` → function that returns the inner scheduler.
OPENERS: dict[type, _Reader] = {}


def describe(scheduler: Any) -> Schedule:
    """Return the name and parameters of a scheduler.

    Args:
        scheduler: any scheduler of torch, including nested ones and subclasses; a wrapper with a
            scheduler in `.scheduler`; any object with public attributes; None for a constant
            schedule; or a `Schedule`, which is returned unchanged.

    Returns:
        A `Schedule` with the constructor's parameter names and the values given, or torch's
        defaults. A parameter is one value if all param groups share it, else a list. Keyword
        arguments of a `functools.partial` are parameters too. The result is the same at any time
        of a training. An unknown object is described as far as possible; this never raises.
    """
    if scheduler is None:
        return Schedule(CONSTANT)
    if issubclass(type(scheduler), Schedule):
        return scheduler  # type: ignore[no-any-return]
    schedule = Schedule.from_dict(_described(scheduler, ()))
    if schedule.name == "ConstantLR" and schedule.params.get("factor") == 1:
        return Schedule(CONSTANT)  # how the spec `constant` is built
    return schedule


def _described(scheduler: Any, outer: tuple[int, ...]) -> dict[str, JSON]:
    scheduler = _unwrapped(scheduler)
    name = str(type(scheduler).__name__)
    if id(scheduler) in outer or len(outer) >= _DEPTH:
        return {"name": name}  # it contains itself
    try:
        params = _parameters(scheduler, partial(_inner, outer=(*outer, id(scheduler))))
    except Exception:
        params = {}
    # the schedule's own name must not be overwritten
    return {"name": name, **{"name_" if key == "name" else key: params[key] for key in params}}


def _unwrapped(scheduler: Any) -> Any:
    for _ in range(_DEPTH):
        if issubclass(type(scheduler), torch_schedulers.LRScheduler):
            break
        opener = OPENERS.get(type(scheduler))
        inner = lookup(scheduler, "scheduler") if opener is None else _read(opener, scheduler)
        if inner is MISSING or not _steps(inner):
            break
        scheduler = inner
    return scheduler


def _inner(value: Any, outer: tuple[int, ...]) -> JSON:
    """Describe a scheduler or a function inside a scheduler."""
    if isinstance(value, partial) or inspect.isroutine(value):
        return function_text(value)
    if _steps(value) and not isinstance(value, type | torch.optim.Optimizer | torch.nn.Module):
        return _described(value, outer)
    return MISSING


def _steps(value: Any) -> bool:
    return any("step" in cls.__dict__ or cls in READERS for cls in type(value).__mro__)


def _parameters(scheduler: Any, inner: Callable[[Any], JSON]) -> dict[str, JSON]:
    """Return the constructor parameters of the scheduler's classes, else its public attributes."""
    params: dict[str, JSON] = {}
    for cls in reversed(type(scheduler).__mro__):
        readers = READERS.get(cls, {})
        for name in _constructor(cls):
            value = _read(readers[name], scheduler) if name in readers else _own(scheduler, name)
            params[name] = plain_value(value, inner)
    for name in INNER:
        value = lookup(scheduler, name)
        if params.get(name, MISSING) is MISSING and _steps(value):  # made by the constructor
            params[name] = inner(value)
    # schedules of transformers are a function with its settings
    params = _settings(lookup(scheduler, "lr_lambdas"), inner) | params
    known_params = {name: value for name, value in params.items() if value is not MISSING}
    return known_params or _attributes(scheduler)


def _own(scheduler: Any, name: str) -> Any:
    """Read an attribute; without it, its plural form, which holds one value per param group."""
    value = lookup(scheduler, name)
    several = lookup(scheduler, f"{name}s") if value is MISSING else None
    return _shared(several) if isinstance(several, list | tuple) and several else value


def _settings(functions: Any, inner: Callable[[Any], JSON]) -> dict[str, JSON]:
    """Return the keyword arguments of the one partial that all param groups share."""
    first = functions[0] if isinstance(functions, list) and functions else None
    if not isinstance(first, partial) or len(set(map(function_text, functions))) > 1:
        return {}
    return {key: plain_value(first.keywords[key], inner) for key in first.keywords}


def _attributes(scheduler: Any) -> dict[str, JSON]:
    params = {
        name: plain_value(value, longest=_SHORT)
        for name, value in public(scheduler).items()
        if not _STATE.fullmatch(name)
    }
    return {name: value for name, value in params.items() if value is not MISSING}


def _constructor(cls: type) -> list[str]:
    if "__init__" not in cls.__dict__ or cls is object:
        return []
    try:
        parameters = inspect.signature(cls.__dict__["__init__"]).parameters.values()
    except (TypeError, ValueError):  # written in C
        return []
    named = [
        parameter.name
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    return [name for name in named if name not in _NOT_PARAMETERS and not name.startswith("_")]


def _read(reader: _Reader, scheduler: Any) -> Any:
    try:
        return reader(scheduler)
    except Exception:  # an older or newer torch, or a modified param group
        return MISSING


def _kept(name: str) -> _Reader:
    """Return a reader of an attribute that holds one value per param group."""
    return lambda scheduler: _shared(getattr(scheduler, name))


def _in_groups(key: str) -> _Reader:
    """Return a reader of a value that a scheduler keeps in the optimizer's param groups."""
    return lambda scheduler: _shared([group[key] for group in _groups(scheduler, key)])


def _groups(scheduler: Any, key: str) -> list[dict[str, Any]]:
    # a group that was added after the scheduler was created lacks the key
    return [group for group in scheduler.optimizer.param_groups if key in group]


def _shared(values: Sequence[Any]) -> JSON:
    """Return one value if all groups share it, else the list of values."""
    plain: list[JSON] = [plain_value(value) for value in values]
    return plain[0] if all(value == plain[0] for value in plain) else plain


def _rounded(value: float, digits: int = _DIGITS) -> float:
    return float(f"{value:.{digits}g}")


def _whole(value: float) -> float | int:
    rounded = _rounded(value)
    return int(rounded) if rounded.is_integer() else rounded


def _lambdas(scheduler: Any) -> Any:
    return _shared([function_text(function) for function in scheduler.lr_lambdas])


def _least(scheduler: Any) -> Any:
    min_lr = lookup(scheduler, "default_min_lr")
    return _shared(scheduler.min_lrs) if min_lr is MISSING or min_lr is None else min_lr


def _quotient(over: str, under: str) -> _Reader:
    """Return a reader of a factor that is kept only as two learning rates of each param group."""

    def read(scheduler: Any) -> Any:
        return _shared([factor(group) for group in _groups(scheduler, under)])

    def factor(group: dict[str, Any]) -> float:
        lower = number(group[under])
        tensors = torch.is_tensor(group[over]) or torch.is_tensor(group[under])
        digits = _DIGITS_OF_TENSORS if tensors else _DIGITS
        return _rounded(number(group[over]) / lower, digits) if lower else float("inf")

    return read


def _if_cycled(reader: _Reader) -> _Reader:
    return lambda scheduler: reader(scheduler) if scheduler.cycle_momentum else MISSING


def _given(name: str) -> _Reader:
    return lambda scheduler: (
        MISSING if getattr(scheduler, name) is None else getattr(scheduler, name)
    )


def _swa_strategy(scheduler: Any) -> Any:
    strategy = lookup(scheduler, "_anneal_strategy")  # before torch 2.7, only the function is kept
    names = {"_cosine_anneal": "cos", "_linear_anneal": "linear"}
    return names[scheduler.anneal_func.__name__] if strategy is MISSING else strategy


def _scale_fn(scheduler: Any) -> Any:
    function = scheduler._scale_fn_custom
    return MISSING if function is None else function_text(function)


def _schedulers(scheduler: Any) -> Any:
    return list(scheduler._schedulers)


#: Constructor arguments that classes keep under another name, by class.
READERS: dict[type, Mapping[str, _Reader]] = {
    torch_schedulers.LambdaLR: {"lr_lambda": _lambdas},
    torch_schedulers.MultiplicativeLR: {"lr_lambda": _lambdas},
    torch_schedulers.MultiStepLR: {"milestones": lambda s: sorted(s.milestones.elements())},
    torch_schedulers.SequentialLR: {
        "schedulers": _schedulers,
        "milestones": lambda s: list(s._milestones),
    },
    torch_schedulers.ChainedScheduler: {"schedulers": _schedulers},
    torch_schedulers.ReduceLROnPlateau: {"min_lr": _least},
    torch_schedulers.CyclicLR: {
        "base_lr": _kept("base_lrs"),
        "max_lr": _kept("max_lrs"),
        "step_size_up": lambda s: _whole(s.total_size * s.step_ratio),
        "step_size_down": lambda s: _whole(s.total_size * (1 - s.step_ratio)),
        "scale_fn": _scale_fn,
        "base_momentum": _if_cycled(_kept("base_momentums")),
        "max_momentum": _if_cycled(_kept("max_momentums")),
    },
    torch_schedulers.OneCycleLR: {
        "max_lr": _in_groups("max_lr"),
        "pct_start": lambda s: _rounded((s._schedule_phases[0]["end_step"] + 1) / s.total_steps),
        "anneal_strategy": lambda s: s._anneal_func_type,
        "base_momentum": _if_cycled(_in_groups("base_momentum")),
        "max_momentum": _if_cycled(_in_groups("max_momentum")),
        "div_factor": _quotient("max_lr", "initial_lr"),
        "final_div_factor": _quotient("initial_lr", "min_lr"),
        "three_phase": lambda s: len(s._schedule_phases) == 3,
    },
    TimeDecayLR: {name: _given(name) for name in ("rate", "half_life", "every", "factor")},
    SWALR: {"swa_lr": _in_groups("swa_lr"), "anneal_strategy": _swa_strategy},
}
