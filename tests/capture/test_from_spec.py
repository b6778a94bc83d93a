"""Specs build torch's own schedulers, equal to those built by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as ls

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import KINDS


def sgd() -> torch.optim.Optimizer:
    """Return SGD with momentum over one number."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1, momentum=0.9)


def rates(scheduler, steps: int = 40) -> list[float]:
    """Return the learning rates that the first steps use."""
    used = []
    for step in range(steps):
        used.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step(1.0) if isinstance(scheduler, ls.ReduceLROnPlateau) else scheduler.step()
        assert step >= 0
    return used


def chain(optimizer) -> ls.SequentialLR:
    """Build ten steps of warm-up, then a cosine."""
    warmup = ls.LinearLR(optimizer, start_factor=0.1, end_factor=1.0, total_iters=10)
    return ls.SequentialLR(optimizer, [warmup, ls.CosineAnnealingLR(optimizer, 30)], [10])


def decaying(optimizer) -> ls.SequentialLR:
    """Build a warm-up, a stable rate, and a linear decay to zero."""
    warmup = ls.LinearLR(optimizer, start_factor=0.1, end_factor=1.0, total_iters=5)
    stable = ls.ConstantLR(optimizer, factor=1.0, total_iters=25)
    decay = ls.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=10)
    return ls.SequentialLR(optimizer, [warmup, stable, decay], [5, 30])


def flat(optimizer) -> ls.SequentialLR:
    """Build a warm-up, a constant rate and a cosine, in one chain as torch requires."""
    warmup = ls.LinearLR(optimizer, start_factor=0.5, end_factor=1.0, total_iters=8)
    stable = ls.ConstantLR(optimizer, factor=1.0, total_iters=16)
    parts = [warmup, stable, ls.CosineAnnealingLR(optimizer, 16, 0.01)]
    return ls.SequentialLR(optimizer, parts, [8, 24])


def stepped(optimizer) -> ls.SequentialLR:
    """Build a step decay, followed by a constant rate."""
    parts = [ls.StepLR(optimizer, 4), ls.ConstantLR(optimizer, 1.0, 0)]
    return ls.SequentialLR(optimizer, parts, [20])


def inverse(optimizer) -> ls.SequentialLR:
    """Build a warm-up, then an inverse square root decay."""
    warmup = ls.LinearLR(optimizer, end_factor=1.0, total_iters=9)
    parts = [warmup, lrtrack.InverseSqrtLR(optimizer, 9)]
    return ls.SequentialLR(optimizer, parts, [9])


CASES = [
    ("constant", lambda o: ls.ConstantLR(o, 1.0, 0)),
    ("step(steps=7, factor=0.5)", lambda o: ls.StepLR(o, 7, 0.5)),
    ("multistep(milestones=[5, 20])", lambda o: ls.MultiStepLR(o, [5, 20])),
    ("exponential(gamma=0.9)", lambda o: ls.ExponentialLR(o, 0.9)),
    ("cosine(steps=40, min_lr=0.01)", lambda o: ls.CosineAnnealingLR(o, 40, 0.01)),
    ("cosine_restarts(steps=10)", lambda o: ls.CosineAnnealingWarmRestarts(o, 10)),
    ("plateau(patience=3, factor=0.5)", lambda o: ls.ReduceLROnPlateau(o, patience=3, factor=0.5)),
    ("onecycle(max_lr=0.3, steps=41)", lambda o: ls.OneCycleLR(o, 0.3, total_steps=41)),
    ("cyclic(min_lr=0.01, max_lr=0.1, steps=5)", lambda o: ls.CyclicLR(o, 0.01, 0.1, 5)),
    ("linear(steps=9, start=0.5)", lambda o: ls.LinearLR(o, 0.5, total_iters=9)),
    ("polynomial(steps=30, power=2)", lambda o: ls.PolynomialLR(o, 30, 2)),
    ("warmup(steps=10, start=0.1) -> cosine(steps=30)", chain),
    ("constant(factor=0.5, steps=9)", lambda o: ls.ConstantLR(o, 0.5, 9)),
    ("linear(start=1, end=0, steps=40)", lambda o: ls.LinearLR(o, 1, 0, 40)),
    ("polynomial(steps=40)", lambda o: ls.PolynomialLR(o, 40)),
    ("inverse_sqrt(timescale=10)", lambda o: lrtrack.InverseSqrtLR(o, 10)),
    ("warmup(steps=9) -> inverse_sqrt(timescale=9)", inverse),
    ("wsd(warmup=5, stable=25, decay=10, start=0.1)", decaying),
    ("warmup(steps=8, start=0.5) -> flat_cosine(steps=32, flat=0.5, min_lr=0.01)", flat),
    ("step(steps=4, lasts=20) -> constant", stepped),
]


@pytest.mark.parametrize(("spec", "by_hand"), CASES, ids=[spec for spec, _ in CASES])
def test_rates_are_those_of_the_class_itself(spec, by_hand):
    """A spec has exactly the rates and the description of the class it names."""
    built, same = lrtrack.scheduler(sgd(), spec), by_hand(sgd())

    assert lrtrack.describe(built) == lrtrack.describe(same)
    assert rates(built) == rates(same)


@pytest.mark.parametrize(
    "spec",
    [
        "onecycle(max_lr=0.3, total_steps=41)",
        {"name": "onecycle", "max_lr": 0.3, "steps": 41},
        {"schedule": "onecycle(max_lr=0.3, total_steps=41)", "lr": 3},
        {"schedule": {"name": "onecycle", "max_lr": 0.3, "total_steps": 41}},
        {"schedule.name": "onecycle", "schedule.max_lr": 0.3, "schedule.total_steps": 41},
        {"schedule": "onecycle(max_lr=0.1..0.5, total_steps=41)", "onecycle": {"max_lr": 0.3}},
        {"schedule": "onecycle(max_lr=0.1..0.5, total_steps=41)", "onecycle.max_lr": 0.3},
    ],
)
def test_one_schedule_in_its_forms(spec):
    """A schedule can be given as text, mapping or sweep config, nested or flat with dots."""
    same = ls.OneCycleLR(sgd(), 0.3, total_steps=41)

    assert lrtrack.describe(lrtrack.scheduler(sgd(), spec)) == lrtrack.describe(same)


@pytest.mark.parametrize(
    "spec",
    [
        [{"name": "warmup", "steps": 10, "start": 0.1}, {"name": "cosine", "steps": 30}],
        ["warmup(steps=10, start=0.1)", {"name": "cosine", "steps": np.int64(30)}],
        {"schedule": [{"name": "warmup", "steps": 10, "start": 0.1},
                      {"name": "cosine", "steps": 30.0}]},
        {"0.name": "warmup", "0.steps": 10, "0.start": np.float64(0.1), "1.name": "cosine",
         "1.T_max": 30},
        {"schedule.1.name": "cosine", "schedule.1.steps": 30, "schedule.0.name": "warmup",
         "schedule.0.steps": 10, "schedule.0.start": 0.1, "lr": 3},
    ],
)  # fmt: skip
def test_one_chain_in_its_forms(spec):
    """A chain can be a list of mappings or texts, or part of a sweep config in either form."""
    built = lrtrack.describe(lrtrack.scheduler(sgd(), spec))

    assert built == lrtrack.describe(chain(sgd()))


def test_a_schedule_as_a_run_carries_it():
    """The schedule that a run was recorded with can be built again."""
    schedule = lrtrack.Schedule.from_spec(lrtrack.describe(chain(sgd())).spec)

    assert lrtrack.describe(lrtrack.scheduler(sgd(), schedule)) == schedule
    with pytest.raises(UsageError, match="LambdaLR cannot be written as a spec"):
        lrtrack.scheduler(sgd(), lrtrack.Schedule("LambdaLR"))


def test_time_decay_is_by_the_clock():
    """The spec builds lrtrack's own class, with the real clock."""
    built = lrtrack.scheduler(sgd(), "time(half_life=600, min_lr=1e-4)")
    same = lrtrack.TimeDecayLR(sgd(), half_life=600, min_lr=1e-4)

    assert lrtrack.describe(built) == lrtrack.describe(same)
    assert type(built) is lrtrack.TimeDecayLR


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_trains(name):
    """Every kind can be built with its required parameters alone, and changes the rate."""
    needs = {"step": "steps=9", "multistep": "milestones=[9]", "exponential": "gamma=0.9",
             "time": "rate=0.1", "cosine_restarts": "steps=9", "onecycle": "max_lr=0.1",
             "cyclic": "min_lr=0.01, max_lr=0.1",
             "piecewise": "steps=[0, 20], factors=[1, 0.5]"}  # fmt: skip
    built = lrtrack.scheduler(sgd(), f"{name}({needs.get(name, '')})", total_steps=40)

    assert sum(0 <= rate <= 0.1 for rate in rates(built)) == 40


def test_total_steps_fill_in_what_is_open():
    """`total_steps` gives the last stage of a chain the remaining steps."""
    alone = lrtrack.describe(lrtrack.scheduler(sgd(), "cosine", total_steps=40))
    chained = lrtrack.describe(
        lrtrack.scheduler(sgd(), "warmup(steps=10) -> cosine", total_steps=40)
    )

    assert alone.params["T_max"] == 40
    assert chained.params["schedulers"][1]["T_max"] == 30


def test_a_constant_schedule_is_called_so():
    """The spec `constant` and no scheduler at all are the same schedule."""
    assert lrtrack.describe(lrtrack.scheduler(sgd(), "constant")) == lrtrack.describe(None)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ([], "at least one schedule"),
        ("time", "time needs exactly one of rate, half_life, every"),
        ("time(rate=1, every=2)", "time needs exactly one of"),
        ("time(half_life=-1)", "time: half_life must be a number above 0, or none, not -1"),
        ("inverse_sqrt(timescale=0)", "timescale must be a number above 0, not 0"),
        ("constant(factor=2)", "factor must be a number of at least 0 and at most 1, not 2"),
        ("piecewise(steps=[3, 1], factors=[1, 1])", "each value exceeds the one before"),
        ("piecewise(steps=[1], factors=[1, 1])", "1 steps and 2 factors"),
        ("cosine(interval=0)", "interval must be a whole number of steps, at least 1"),
        ("cosine(skip=-1)", "skip must be a whole number of steps, at least 0"),
        ("time(half_life=3, skip=2)", "depends on more than the step, so it has no skip"),
        ("plateau(interval=2)", "plateau moves with its metric, so it has no interval"),
        (7, "text, a mapping or a list"),
        ({"a": 1}, 'needs "name"'),
        ("cosine", "needs T_max"),
        ("onecycle(max_lr=0.1)", "needs total_steps"),
        ("onecycle(max_lr=0.1, total_steps=9, pct_start=2.0)", "at most 1, not 2.0"),
        ("onecycle(max_lr=[0.1, 0.2], total_steps=9)", "torch says"),
        ("onecycle(max_lr=0.1, total_steps=-4)", "whole number of steps"),
        ("cosine(T_max='x')", "whole number of steps"),
        ("cosine(T_max=1..9)", "has no value for it"),
        ("plateau -> cosine(T_max=9)", "plateau needs a metric"),
        ("step(steps=3) -> cosine(T_max=9)", "step needs lasts=…"),
    ],
)
def test_what_cannot_be_built_is_told(spec, why):
    """A spec that cannot be built is refused before the training starts."""
    with pytest.raises(UsageError, match=why):
        lrtrack.scheduler(sgd(), spec)
