"""Roots of functions of one number."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.stats.roots import root_between

_SHAPES: dict[str, Callable[[float], float]] = {
    "a line": lambda x: x,
    "a cube, flat at its root": lambda x: x**3,
    "an exponential": math.expm1,
    "a step": lambda x: 1.0 if x > 0.0 else -1.0,
    "a root, steep there": lambda x: math.copysign(math.sqrt(abs(x)), x),
    "a hyperbola's branch": lambda x: x / (1.0 + abs(x)) ** 9,
}


@given(
    st.sampled_from(sorted(_SHAPES)),
    st.floats(-100.0, 100.0),
    st.floats(1e-3, 200.0),
    st.floats(1e-3, 200.0),
    st.booleans(),
)
def test_a_root_is_found_to_the_last_bit(
    shape: str, at: float, below: float, above: float, falls: bool
) -> None:
    """The sign of a function changes at its root, or between it and a neighbouring number."""
    sign = -1.0 if falls else 1.0

    def function(x: float) -> float:
        return sign * _SHAPES[shape](x - at)

    found = root_between(function, at - below, at + above)

    ends = [math.nextafter(found, -math.inf), found, math.nextafter(found, math.inf)]
    signs = {math.copysign(1.0, function(x)) for x in ends if function(x) != 0.0}
    assert function(found) == 0.0 or signs == {-1.0, 1.0}


def test_a_smooth_function_is_called_a_few_times() -> None:
    """The root of a smooth function takes a fraction of the calls that bisection does."""
    called = []

    def function(x: float) -> float:
        called.append(x)
        return math.exp(-x) - 0.05

    assert math.isclose(math.log(20.0), root_between(function, 0.0, 4.0), rel_tol=1e-15)
    assert len(called) < 20  # where bisection takes 55


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 0.0)])
def test_an_end_may_be_the_root(low: float, high: float) -> None:
    """A root at one of the ends is returned as it is."""
    assert root_between(lambda x: x, low, high) == 0.0


def test_equal_signs_are_an_error() -> None:
    """A function without a change of sign between the ends is refused."""
    with pytest.raises(ValueError, match=r"no change of sign between 1\.0 and 2\.0"):
        root_between(lambda x: x, 1.0, 2.0)
