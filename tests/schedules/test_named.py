"""A `Schedule` is written as the spec that builds it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.schedules import Schedule, spec_of
from lrtrack.schedules.catalogue import KINDS

STEPS = st.integers(1, 500)
PART = st.floats(0.01, 0.99)
RATE = st.floats(1e-6, 1.0)


def sgd() -> torch.optim.Optimizer:
    """Return SGD with momentum over one number."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1, momentum=0.9)


def kind(name: str, **params: st.SearchStrategy) -> st.SearchStrategy[dict]:
    """Generate mappings of one kind."""
    return st.fixed_dictionaries({"name": st.just(name), **params})


LINKS = st.one_of(
    kind("constant", steps=STEPS),
    kind("constant", steps=STEPS, factor=PART),
    kind("step", steps=STEPS, gamma=PART, lasts=STEPS),
    kind("multistep", milestones=st.lists(STEPS, max_size=4), gamma=PART, lasts=STEPS),
    kind("exponential", gamma=PART, lasts=STEPS),
    kind("time", half_life=RATE, lasts=STEPS),
    kind("time", rate=RATE, min_lr=RATE, lasts=STEPS),
    kind("time", every=STEPS, factor=PART, lasts=STEPS),
    kind("cosine", steps=STEPS, min_lr=RATE),
    kind("cosine", steps=STEPS, lasts=STEPS),
    kind("cosine_restarts", steps=STEPS, factor=st.integers(1, 3), lasts=STEPS),
    kind("linear", steps=STEPS, start=PART, end=PART),
    kind("polynomial", steps=STEPS, power=st.floats(0.5, 3)),
    kind("inverse_sqrt", timescale=STEPS, lasts=STEPS),
    kind("wsd", steps=STEPS, warmup=st.floats(0, 0.5), decay=st.floats(0, 0.5)),
    kind("flat_cosine", steps=STEPS, flat=st.floats(0, 0.5)),
    kind("warmup", steps=STEPS, start=PART),
    kind("warmup", steps=STEPS, start=st.just(0)),
    kind("cosine", steps=STEPS, interval=STEPS),
    kind("step", steps=STEPS, interval=STEPS, lasts=STEPS),
    kind("cosine", steps=STEPS, skip=STEPS, lasts=STEPS),
    kind("wsd", steps=STEPS, warmup=st.floats(0, 0.5), decay=st.floats(0, 0.5), skip=STEPS),
    kind("one_minus_sqrt", steps=STEPS, end=PART),
    kind(
        "piecewise",
        steps=st.just([0, 5, 9]),
        factors=st.lists(PART, min_size=3, max_size=3),
        lasts=STEPS,
    ),
    kind("warmup", steps=STEPS, lasts=STEPS),
)
ALONE = st.one_of(
    LINKS,
    kind("plateau", patience=STEPS, factor=PART, mode=st.sampled_from(["min", "max"])),
    kind("onecycle", max_lr=RATE, steps=STEPS, pct_start=st.sampled_from([0.1, 0.3]),
         three_phase=st.booleans(), cycle_momentum=st.booleans(),
         anneal_strategy=st.sampled_from(["cos", "linear"])),
    kind("cyclic", min_lr=RATE, max_lr=RATE, steps=STEPS, step_size_down=STEPS,
         mode=st.sampled_from(["triangular", "triangular2", "exp_range"])),
)  # fmt: skip


def last(link: dict) -> dict:
    """Generate a last stage of a chain."""
    return {key: value for key, value in link.items() if key != "lasts"}


SPECS = ALONE.map(last) | st.lists(LINKS, min_size=2, max_size=4).map(
    lambda links: [*links[:-1], last(links[-1])]
)


@settings(deadline=None, max_examples=300)
@given(SPECS)
def test_schedule_to_spec_to_schedule(spec):
    """The description of a built schedule can be written as a spec, which builds the same."""
    described = lrtrack.describe(lrtrack.scheduler(sgd(), spec))
    text = spec_of(described)

    assert described == lrtrack.describe(lrtrack.scheduler(sgd(), text))
    assert text == spec_of(lrtrack.describe(lrtrack.scheduler(sgd(), text)))


def test_every_kind_takes_part():
    """The generated specs cover every kind."""
    names = {"plateau", "onecycle", "cyclic"} | {
        "constant", "step", "multistep", "exponential", "time", "cosine", "cosine_restarts",
        "linear", "polynomial", "inverse_sqrt", "wsd", "flat_cosine", "warmup",
        "one_minus_sqrt", "piecewise",
    }  # fmt: skip

    assert names == set(KINDS)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("constant", "constant"),
        ("cosine(T_max=9, eta_min=1e-5)", "cosine(steps=9, min_lr=1e-05)"),
        (
            "warmup(steps=10, start=0.1) -> flat_cosine(steps=100, flat=50)",
            "warmup(start=0.1, steps=10) -> constant(factor=1.0, steps=50) -> "
            "cosine(steps=50, min_lr=0.0)",
        ),
        (
            "step(steps=3, lasts=9) -> constant",
            "step(steps=3, factor=0.1, lasts=9) -> constant(factor=1.0, steps=0)",
        ),
        ("time(every=600)", "time(every=600, factor=0.5, min_lr=0.0)"),
    ],
)
def test_the_text_has_the_short_names(spec, text):
    """A spec uses the short parameter names and contains every parameter of the class."""
    assert text == spec_of(lrtrack.describe(lrtrack.scheduler(sgd(), spec)))


def test_infinity_stored_as_text():
    """A schedule read back from its canonical JSON has a spec too."""
    schedule = Schedule("ReduceLROnPlateau", {"threshold": float("inf")})

    assert spec_of(Schedule.from_spec(schedule.spec)) == "plateau(threshold=inf)"


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        (Schedule("LambdaLR", {"lr_lambda": "f"}), "LambdaLR.*no name for it"),
        (Schedule("CyclicLR", {"scale_fn": "f"}), "cyclic has no parameter scale_fn"),
        (Schedule("SequentialLR", {}), "its inner schedules are unknown"),
        (Schedule("SequentialLR", {"schedulers": [], "milestones": [3]}), "one milestone"),
        (
            Schedule("SequentialLR", {"schedulers": [{"name": "StepLR"}] * 2, "milestones": [0]}),
            "must increase",
        ),
        (Schedule("StepLR", {"gamma": {"a": 1}}), "value of gamma has no text form"),
        (Schedule("StepLR", {"gamma": "'\""}), "value of gamma has no text form"),
    ],
)
def test_inexpressible_schedules_are_refused(schedule, why):
    """A schedule that the spec language cannot express is refused with the reason."""
    with pytest.raises(UsageError, match=why):
        spec_of(schedule)


def test_shares_that_fill_an_odd_number_of_steps() -> None:
    """Two halves of a warm-up and decay in 3 steps are rounded so that they fit."""
    rates = lrtrack.simulate("wsd(steps=3, warmup=0.5, decay=0.5)", 3, lr=1.0)[:, 0]

    assert len(rates) == 3
    assert rates.max() <= 1.0
