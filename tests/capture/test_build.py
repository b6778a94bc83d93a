"""Schedulers from specs are torch's own, built as by hand."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler as ls

import lrtrack
from lrtrack.errors import UsageError


def sgd() -> torch.optim.Optimizer:
    """SGD with momentum over one number."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1, momentum=0.9)


def rates(scheduler, steps: int = 40) -> list[float]:
    """The learning rates that the first steps use."""
    found = []
    for step in range(steps):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step(1.0) if isinstance(scheduler, ls.ReduceLROnPlateau) else scheduler.step()
        assert step >= 0
    return found


def chain(optimizer) -> ls.SequentialLR:
    """Ten steps of warm-up, then a cosine."""
    warmup = ls.LinearLR(optimizer, start_factor=0.1, end_factor=1.0, total_iters=10)
    return ls.SequentialLR(optimizer, [warmup, ls.CosineAnnealingLR(optimizer, 30)], [10])


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
]


@pytest.mark.parametrize(("spec", "by_hand"), CASES, ids=[spec for spec, _ in CASES])
def test_rates_are_those_of_the_class_itself(spec, by_hand):
    """The same sequence, float for float, and the same description."""
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
    """Text, mapping, sweep config, nested or flat with dots."""
    same = ls.OneCycleLR(sgd(), 0.3, total_steps=41)

    assert lrtrack.describe(lrtrack.scheduler(sgd(), spec)) == lrtrack.describe(same)


def test_total_steps_fill_in_what_is_open():
    """The last stage of a chain takes what is left."""
    alone = lrtrack.describe(lrtrack.scheduler(sgd(), "cosine", total_steps=40))
    chained = lrtrack.describe(
        lrtrack.scheduler(sgd(), "warmup(steps=10) -> cosine", total_steps=40)
    )

    assert alone.params["T_max"] == 40
    assert chained.params["schedulers"][1]["T_max"] == 30


def test_a_constant_schedule_is_called_so():
    """The spec `constant` and no scheduler at all are one schedule."""
    assert lrtrack.describe(lrtrack.scheduler(sgd(), "constant")) == lrtrack.describe(None)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (7, "a text or a mapping"),
        ({"a": 1}, 'needs "name"'),
        ("cosine", "needs T_max"),
        ("onecycle(max_lr=0.1)", "needs total_steps"),
        ("onecycle(max_lr=0.1, total_steps=9, pct_start=2.0)", "torch says"),
        ("onecycle(max_lr=0.1, total_steps=-4)", "whole number of steps"),
        ("cosine(T_max='x')", "whole number of steps"),
        ("cosine(T_max=1..9)", "does not decide it"),
        ("plateau -> cosine(T_max=9)", "plateau waits for a metric"),
        ("step(steps=3) -> cosine(T_max=9)", "step needs lasts=…"),
    ],
)
def test_what_cannot_be_built_is_told(spec, why):
    """A clear error before any training."""
    with pytest.raises(UsageError, match=why):
        lrtrack.scheduler(sgd(), spec)
