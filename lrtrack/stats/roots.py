"""Roots of functions of one number, without scipy, whose import takes longer than they do."""

from __future__ import annotations

from collections.abc import Callable


def root_between(function: Callable[[float], float], low: float, high: float) -> float:
    """A number at which a continuous function changes its sign, by bisection to the last bit.

    Args:
        function: of different signs at `low` and `high`, or zero at one of them.
        low: the lower end.
        high: the upper end.

    Raises:
        ValueError: the signs at both ends are equal.
    """
    at_low, at_high = function(low), function(high)
    if at_low == 0.0 or at_high == 0.0:
        return low if at_low == 0.0 else high
    if (at_low > 0.0) == (at_high > 0.0):
        raise ValueError(f"no change of sign between {low} and {high}")
    while low < (middle := (low + high) / 2.0) < high:
        value = function(middle)
        if value == 0.0:
            return middle
        if (value > 0.0) == (at_low > 0.0):
            low = middle
        else:
            high = middle
    return middle
