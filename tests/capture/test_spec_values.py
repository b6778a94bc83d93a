"""Every value of a spec is checked when it is read, so that none fails in the training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as ls

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import KINDS, LASTS, stages_of
from lrtrack.schedules.params import (
    LONGEST,
    Count,
    Flag,
    Many,
    Number,
    OrNone,
    PerGroup,
    Type,
    Word,
)
from lrtrack.schedules.spec import Choice, SpecError, Stage, write

WORDS = sorted(
    {word for kind in KINDS.values() for t in kind.params.values() if isinstance(t, Word)
     for word in t.words}
)  # fmt: skip
SCALARS = (
    st.integers(-3, 60)
    | st.floats(0, 1)
    | st.floats()
    | st.sampled_from([None, True, False, 10**30, 1e-300, 5e-324, 0.1, 100.0, *WORDS])
    | st.text("abc é", max_size=3)
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.lists(st.integers(0, 60), max_size=4)


def right(own: Type) -> st.SearchStrategy[Any]:
    """Generate values of a type, with its bounds."""
    if isinstance(own, OrNone):
        return st.none() | right(own.inner)
    if isinstance(own, PerGroup):
        return right(own.item) | right(own.item).map(lambda value: [value])
    if isinstance(own, Many):
        items = st.lists(right(own.item), min_size=own.least, max_size=4, unique=own.rising)
        return items.map(sorted) if own.rising else items
    if isinstance(own, Word):
        return st.sampled_from(own.words)
    if isinstance(own, Number):
        ends = st.sampled_from([own.low, 1.0, own.high])
        return ends | st.floats(own.low, 1) | st.floats(own.low, own.high)
    if isinstance(own, Count):
        return st.integers(own.least, 60) | st.sampled_from([own.least, LONGEST])
    return st.booleans() if isinstance(own, Flag) else st.floats(0, 1) | st.integers(0, 60)


def sgd() -> torch.optim.SGD:
    """Return SGD with momentum over one number."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1, momentum=0.9)


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    """Draw a kind with random values for some of its parameters, and all required ones."""
    name = draw(st.sampled_from(sorted(KINDS)))
    kind = KINDS[name]
    others = [*kind.params, LASTS]
    names = {*kind.required, *draw(st.lists(st.sampled_from(others), max_size=3))}
    names |= {draw(st.sampled_from(kind.one_of))} if kind.one_of else set()
    types = {**kind.params, LASTS: Count()}
    values = {key: right(types[key]) for key in sorted(names)}
    wrong = draw(st.sampled_from([None, None, *sorted(names)]))
    return Stage(name, {k: draw(VALUES if k == wrong else value) for k, value in values.items()})


def train(scheduler: Any, steps: int) -> list[float]:
    """Train some steps, and return the rates that they used."""
    rates = []
    for _ in range(steps):
        rates.append(float(scheduler.optimizer.param_groups[0]["lr"]))
        scheduler.optimizer.step()
        scheduler.step(*([1.0] if isinstance(scheduler, ls.ReduceLROnPlateau) else []))
    return rates


@settings(deadline=None, max_examples=300)
@given(st.lists(stages(), min_size=1, max_size=2))
def test_a_spec_is_refused_or_trains(chain: list[Stage]) -> None:
    """Any values are either refused when the scheduler is built, or train with finite rates."""
    try:
        scheduler = lrtrack.scheduler(sgd(), write(chain), total_steps=200)
    except UsageError:
        return
    cycles = [
        s for s in (scheduler, *getattr(scheduler, "_schedulers", ())) if type(s) is ls.OneCycleLR
    ]
    steps = min([20, *(cycle.total_steps - 1 for cycle in cycles)])  # torch refuses further ones

    assert all(map(math.isfinite, train(scheduler, steps)))


@pytest.mark.parametrize(
    ("text", "at", "why"),
    [
        ("wsd(warmup=100, decay=none)", 16, "wsd: decay must be a whole number of steps"),
        ("constant(steps=3) -> plateau(patience=cosine)", 29, "whole number of metrics"),
        ("polynomial(power=log)", 11, "power must be a number of at least 0, not 'log'"),
        ("exponential(gamma=none)", 12, "gamma must be a number of at least 0, not None"),
        ("exponential(gamma=1e9)", 12, "gamma must be a number of at least 0 and at most 1e+06"),
        ("plateau(factor=1.0)", 8, "factor must be a number of at least 0 and below 1, not 1.0"),
        ("cosine(steps=1000, min_lr=none)", 19, "eta_min must be a number"),
        ("step(steps=30, gamma='x')", 15, "gamma must be a number of at least 0, not 'x'"),
        ("step(steps=2000000000000)", 5, "at least 1 and at most 1000000000000, not 2000000000000"),
        ("cosine(steps=none)", 7, "whole number of steps, at least 1, not None"),
        ("multistep(milestones=30)", 10, r"must be a list, as in [1, 2], not 30"),
        ("multistep(milestones=[30, x])", 10, "a list in which each value must be a whole number"),
        ("onecycle(max_lr=[])", 9, "max_lr must be a list of at least 1 values, not []"),
        ("onecycle(max_lr=1, three_phase=1)", 19, "three_phase must be true or false, not 1"),
        ("plateau(mode=minn)", 8, "Unknown mode of plateau 'minn'. Did you mean 'min'?"),
        ("plateau(mode=3)", 8, "mode must be one of min, max, not 3"),
        ("cosine(steps=1.5..9)", 7, "T_max must be a whole number of steps, at least 1, not 1.5"),
        ("exponential(gamma=-1..1)", 12, "gamma must be a number of at least 0, not -1"),
        ("exponential(gamma={0.9, high})", 12, "must be a number of at least 0, not 'high'"),
        ("exponential(gamma={})", 12, "gamma must have at least one alternative between { and }"),
        ("exponential(gamma={1..2, 3})", 12, "values as its alternatives, not ranges"),
        ("plateau(mode=1..2)", 8, "mode cannot be a range: it must be one of min, max"),
        ("wsd(warmup=0.1..9)", 4, "both ends of its range in steps, or both as shares"),
        ("step(steps=3, lasts=-1) -> cosine", 14, "lasts must be a whole number of steps"),
        ("cosine_restarts(steps=3, factor=1.5)", 25, "T_mult must be a whole number of times"),
    ],
)  # fmt: skip
def test_wrong_values_are_pointed_at(text: str, at: int, why: str) -> None:
    """A wrong value is refused with its bounds, before any training, and the error points at it."""
    with pytest.raises(SpecError) as caught:
        stages_of(text)

    message, excerpt, pointer = str(caught.value).splitlines()
    assert why in message
    assert f"  {text}" == excerpt
    assert " " * (caught.value.at + 2) + "^" == pointer
    assert at == caught.value.at


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("onecycle(max_lr=1, total_steps=none, pct_start=0)", {"max_lr": 1, "pct_start": 0.0}),
        ("cosine(T_max=100.0)", {"T_max": 100}),
        ("multistep(milestones=[3.0, 5])", {"milestones": [3, 5]}),
        ("wsd(warmup=1.0, decay=5.0)", {"warmup": 1.0, "decay": 5}),
        ("plateau(threshold=inf, min_lr=[0, 0.1])", {"threshold": math.inf, "min_lr": [0, 0.1]}),
        ("time(rate=none, every=3)", {"every": 3}),
        ("plateau(mode={min, max})", {"mode": Choice(("min", "max"))}),
    ],
)
def test_right_values_become_those_of_the_class(text: str, params: dict[str, Any]) -> None:
    """Whole floats become counts, and `none` is left out where it means the class's default."""
    (stage,) = stages_of(text)

    assert params == dict(stage.params)
    assert [*map(type, params.values())] == [*map(type, stage.params.values())]


def test_what_a_sweep_chose_is_checked() -> None:
    """A value from a sweep's config is checked as if it stood in the text."""
    spec = {"schedule": "exponential(gamma=0.5..0.9)", "exponential": {"gamma": "high"}}
    with pytest.raises(UsageError, match="gamma must be a number of at least 0, not 'high'"):
        lrtrack.scheduler(sgd(), spec)

    spec["exponential"] = {"gamma": np.float32(0.5)}  # type: ignore[dict-item]
    assert lrtrack.describe(lrtrack.scheduler(sgd(), spec)).params == {"gamma": 0.5}
