"""Curves of specs without torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import KINDS
from lrtrack.schedules.closed_form import curve

FACTORS, STEPS = st.sampled_from([0, 0.1, 0.5, 1]), st.integers(0, 40)
#: One or more texts of each kind, also with values that no schedule can have.
STAGES = st.one_of(
    st.sampled_from(["constant", "cosine", "wsd", "flat_cosine", "one_minus_sqrt", "linear"]),
    st.builds("constant(factor={}, steps={})".format, FACTORS, STEPS),
    st.builds("step(steps={}, factor={})".format, STEPS, FACTORS),
    st.builds("multistep(milestones=[{}, {}], factor={})".format, STEPS, STEPS, FACTORS),
    st.builds("exponential(gamma={})".format, st.sampled_from([0, 0.9, 0.999, 1.1])),
    st.builds("cosine(steps={}, min_lr={})".format, STEPS, FACTORS),
    st.builds("cosine_restarts(steps={}, factor={})".format, STEPS, st.integers(0, 3)),
    st.builds(
        "cyclic(min_lr={}, max_lr={}, steps={}, mode={})".format,
        *(FACTORS, FACTORS, STEPS, st.sampled_from(["triangular", "triangular2", "exp_range"])),
    ),
    st.builds("linear(start={}, end={}, steps={})".format, FACTORS, FACTORS, STEPS),
    st.builds("warmup(steps={}, start={})".format, STEPS, FACTORS),
    st.builds("polynomial(power={}, steps={})".format, FACTORS, STEPS),
    st.builds("inverse_sqrt(timescale={})".format, STEPS),
    st.builds("piecewise(steps=[{}, {}], factors=[{}, 1])".format, STEPS, STEPS, FACTORS),
    st.builds("cosine(steps={}, interval={}, skip={})".format, STEPS, STEPS, STEPS),
)
SPECS = st.lists(STAGES, min_size=1, max_size=3).map(" -> ".join)


@given(SPECS, st.integers(1, 60), st.sampled_from([0.0, 1e-6, 0.1, 3.0]))
@settings(max_examples=300)
def test_curves_are_those_of_torch(spec, steps, lr):
    """A curve is that of torch's classes but for rounding, and there is none that they refuse."""
    drawn = curve(spec, steps, lr)
    if drawn is None:
        return
    expected = lrtrack.simulate(spec, steps, lr=lr)[:, 0]

    assert drawn.shape == (steps,)
    np.testing.assert_allclose(drawn, expected, rtol=1e-8, atol=1e-9 * max(lr, expected.max()))


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"onecycle", "plateau", "time"}))
def test_kinds_that_need_no_torch(kind):
    """Each kind that depends on the step alone has a curve of its own."""
    required = {
        "step": "steps=3",
        "multistep": "milestones=[3]",
        "exponential": "gamma=0.9",
        "cosine_restarts": "steps=3",
        "cyclic": "min_lr=0.1, max_lr=0.2",
        "warmup": "steps=3",
        "inverse_sqrt": "timescale=9",
        "piecewise": "steps=[0, 9], factors=[1, 0]",
    }

    assert curve(f"{kind}({required.get(kind, '')})", 10, 0.1) is not None


@pytest.mark.parametrize(
    ("spec", "steps", "lr"),
    [
        ("onecycle(max_lr=0.1)", 10, 0.1),
        ("plateau", 10, 0.1),
        ("time(half_life=3)", 10, 0.1),
        ("nonsense", 10, 0.1),
        ("cosine", 10_000_001, 0.1),
        ("cosine", 10, float("nan")),
    ],
)
def test_curves_that_only_torch_tells(spec, steps, lr):
    """What torch may refuse, and what depends on more than the step, is left to torch."""
    assert curve(spec, steps, lr) is None
    if spec == "nonsense" or steps > 10 or not lr > 0:
        with pytest.raises(UsageError):
            lrtrack.simulate(spec, steps, lr=lr)
