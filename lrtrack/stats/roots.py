"""Roots of functions of one number, without scipy, whose import takes longer than they do."""

from __future__ import annotations

from collections.abc import Callable

#: Steps in which false position must halve the interval.
_PATIENCE = 3


def root_between(function: Callable[[float], float], low: float, high: float) -> float:
    """A number at which a continuous function changes its sign, to the last bit.

    False position with the Illinois rule (Dowell and Jarratt, 1971), and a bisection wherever three
    steps have not halved the interval: a smooth function is called less than twenty times, of 55.

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
    falls, width, steps, kept = at_low > 0.0, high - low, 0, ""
    while low < (middle := low + (high - low) / 2.0) < high:
        guess = high - at_high * ((high - low) / (at_high - at_low))
        if high - low <= width / 2.0:
            width, steps = high - low, 0
        elif steps == _PATIENCE:
            guess, width, steps = middle, high - low, 0
        steps += 1
        guess = guess if low < guess < high else middle
        value = function(guess)
        if value == 0.0:
            return guess
        # An end that stays twice counts half, or else it would stay for ever.
        if (value > 0.0) == falls:
            low, at_low, at_high = guess, value, at_high / (2.0 if kept == "high" else 1.0)
            kept = "high"
        else:
            high, at_high, at_low = guess, value, at_low / (2.0 if kept == "low" else 1.0)
            kept = "low"
    return middle
