"""Where the classes of torch keep their constructor's arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.optim import lr_scheduler as torch_schedulers
from torch.optim.swa_utils import SWALR

from lrtrack.capture.safe_access import MISSING, lookup, number, plain_value
from lrtrack.capture.time_decay import TimeDecayLR
from lrtrack.fields import JSON

#: Significant digits of a reconstructed value; fewer if it comes from 32-bit tensors.
_DIGITS, _DIGITS_OF_TENSORS = 12, 6

Reader = Callable[[Any], Any]


class Functions(tuple[Any, ...]):
    """Functions as a reader returns them, one per param group, which are described as text."""


def read(reader: Reader, scheduler: Any) -> Any:
    """Return what a reader finds in a scheduler; MISSING if it fails."""
    try:
        return reader(scheduler)
    except Exception:  # an older or newer torch, or a modified param group
        return MISSING


def _kept(name: str) -> Reader:
    """Return a reader of an attribute that holds one value per param group."""
    return lambda scheduler: shared(getattr(scheduler, name))


def _in_groups(key: str) -> Reader:
    """Return a reader of a value that a scheduler keeps in the optimizer's param groups."""
    return lambda scheduler: shared([group[key] for group in _groups(scheduler, key)])


def _groups(scheduler: Any, key: str) -> list[dict[str, Any]]:
    # a group that was added after the scheduler was created lacks the key
    return [group for group in scheduler.optimizer.param_groups if key in group]


def shared(values: Sequence[Any]) -> JSON:
    """Return one value if all groups share it, else the list of values."""
    plain: list[JSON] = [plain_value(value) for value in values]
    return plain[0] if all(value == plain[0] for value in plain) else plain


def _rounded(value: float, digits: int = _DIGITS) -> float:
    return float(f"{value:.{digits}g}")


def _whole(value: float) -> float | int:
    rounded = _rounded(value)
    return int(rounded) if rounded.is_integer() else rounded


def _lambdas(scheduler: Any) -> Any:
    return Functions(scheduler.lr_lambdas)


def _least(scheduler: Any) -> Any:
    min_lr = lookup(scheduler, "default_min_lr")
    return shared(scheduler.min_lrs) if min_lr is MISSING or min_lr is None else min_lr


def _quotient(over: str, under: str) -> Reader:
    """Return a reader of a factor that is kept only as two learning rates of each param group."""

    def read(scheduler: Any) -> Any:
        return shared([factor(group) for group in _groups(scheduler, under)])

    def factor(group: dict[str, Any]) -> float:
        lower = number(group[under])
        tensors = torch.is_tensor(group[over]) or torch.is_tensor(group[under])
        digits = _DIGITS_OF_TENSORS if tensors else _DIGITS
        return _rounded(number(group[over]) / lower, digits) if lower else float("inf")

    return read


def _if_cycled(reader: Reader) -> Reader:
    return lambda scheduler: reader(scheduler) if scheduler.cycle_momentum else MISSING


def _given(name: str) -> Reader:
    return lambda scheduler: (
        MISSING if getattr(scheduler, name) is None else getattr(scheduler, name)
    )


def _swa_strategy(scheduler: Any) -> Any:
    strategy = lookup(scheduler, "_anneal_strategy")  # before torch 2.7, only the function is kept
    names = {"_cosine_anneal": "cos", "_linear_anneal": "linear"}
    return names[scheduler.anneal_func.__name__] if strategy is MISSING else strategy


def _scale_fn(scheduler: Any) -> Any:
    function = scheduler._scale_fn_custom
    return MISSING if function is None else Functions([function])


def _schedulers(scheduler: Any) -> Any:
    return list(scheduler._schedulers)


#: Constructor arguments that classes keep under another name, by class.
READERS: dict[type, Mapping[str, Reader]] = {
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
    TimeDecayLR: {
        **{name: _given(name) for name in ("rate", "half_life", "every", "factor")},
        "clock": lambda scheduler: MISSING,
    },
    SWALR: {"swa_lr": _in_groups("swa_lr"), "anneal_strategy": _swa_strategy},
}
