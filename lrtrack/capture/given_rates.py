"""Learning rates as they were given, where a schedule divides or replaces them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

#: How transformers keeps a lowest rate, and what the argument is called that it is made of.
_QUOTIENT, _LOWEST = "min_lr_rate", "min_lr"
#: The significant digits of numbers that people write.
_WRITTEN = 4


def as_given(name: str, value: Any, rates: Sequence[float]) -> tuple[str, Any]:
    """Undo the division of an absolute lowest rate by the optimizer's, where digits tell of it.

    Where both are short numbers, as 1e-5 and its quotient by 1e-3 are, the quotient stays.

    Args:
        name: a setting.
        value: its value.
        rates: initial rates of the optimizer, its default last.

    Returns:
        Name and value of the setting that was given.
    """
    if name != _QUOTIENT or type(value) is not float or not rates or _is_written(value):
        return name, value
    lowest = float(f"{value * rates[-1]:.12g}")
    return (_LOWEST, lowest) if _is_written(lowest) else (name, value)


def _is_written(value: float) -> bool:
    return float(f"{value:.{_WRITTEN}g}") == value


def given_rate(optimizer: Any) -> float | None:
    """The learning rate that an optimizer was created with, whatever a schedule has made of it.

    Returns:
        None where it is unknown: several param groups may have rates of their own, and the default
        of the class was perhaps given by nobody.
    """
    defaults, groups = getattr(optimizer, "defaults", None), getattr(optimizer, "param_groups", ())
    rate = defaults.get("lr") if isinstance(defaults, dict) else None
    if not isinstance(rate, float | int) or len(groups) != 1:
        return None
    try:
        parameter = inspect.signature(type(optimizer).__init__).parameters.get("lr")
    except (TypeError, ValueError):
        return None
    return None if parameter is not None and parameter.default == rate else float(rate)
