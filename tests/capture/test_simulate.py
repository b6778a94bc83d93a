"""Simulated learning rates equal those of a training exactly."""

from __future__ import annotations

import copy
import functools
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as ls
from torch.optim.swa_utils import SWALR

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import KINDS


def sgd(*rates: float) -> torch.optim.SGD:
    """Return SGD with momentum and one param group for each rate."""
    groups = [{"params": [torch.nn.Parameter(torch.ones(()))], "lr": lr} for lr in rates or (0.1,)]
    return torch.optim.SGD(groups, lr=0.0, momentum=0.9)


class Clock:
    """A clock that advances three seconds per step."""

    now = 0.0

    def tick(self) -> None:
        """Advance by one step."""
        self.now += 3.0


def trained(scheduler, steps: int, metrics=None, between=lambda: None) -> list[list[float]]:
    """Return the rates that a training reads from the optimizer right before each of its steps."""
    values, rates = iter(metrics or itertools.repeat(1.0)), []
    for _ in range(steps):
        rates.append([float(group["lr"]) for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        between()
        plateau = isinstance(scheduler, ls.ReduceLROnPlateau)
        scheduler.step(next(values)) if plateau else scheduler.step()
    return rates


def state(scheduler) -> tuple:
    """Return all state that stepping would change."""
    groups = [{k: v for k, v in g.items() if k != "params"}
              for g in scheduler.optimizer.param_groups]  # fmt: skip
    return copy.deepcopy((scheduler.state_dict(), groups, scheduler.optimizer.state_dict()))


SPECS = [
    "constant",
    "constant(factor=0.3, steps=7)",
    "step(steps=7, factor=0.9)",
    "multistep(milestones=[3, 3, 50], factor=0.3)",
    "exponential(gamma=0.97)",
    "time(half_life=17)",
    "time(every=10, factor=0.7)",
    "time(rate=0.03, min_lr=0.01)",
    "cosine",
    "cosine(steps=1)",
    "cosine(steps=23, min_lr=0.003)",
    "cosine_restarts(steps=7, factor=2)",
    "plateau(patience=2, factor=0.7)",
    "onecycle(max_lr=0.3)",
    "onecycle(max_lr=0.3, three_phase=true, anneal_strategy=linear)",
    "cyclic(min_lr=0.01, max_lr=0.1, steps=9)",
    "cyclic(min_lr=0.01, max_lr=0.1, steps=9, mode=exp_range, gamma=0.99)",
    "linear(start=0.3, end=0.9)",
    "linear(start=1, end=0)",
    "polynomial(power=1.7)",
    "inverse_sqrt(timescale=13)",
    "wsd",
    "flat_cosine(min_lr=0.001)",
    "warmup(steps=10) -> cosine",
    "warmup(steps=1) -> step(steps=3, lasts=20) -> cosine_restarts(steps=9, lasts=30) -> wsd",
    "constant(steps=2) -> time(half_life=17)",
    "constant(factor=0, lasts=10) -> warmup(steps=20, start=0) -> constant(factor=0.3)",
    "one_minus_sqrt(steps=90, end=0.1)",
    "piecewise(steps=[3, 50, 51, 100], factors=[0.5, 1, 0.2, 0])",
    "wsd(warmup=20, decay=50, shape=sqrt)",
    "cosine(steps=9, interval=10)",
    "warmup(steps=5, start=0, interval=10) -> step(steps=3, interval=10)",
    "warmup(steps=20) -> cosine(steps=90, skip=20, min_lr=0.01)",
    "cosine_restarts(steps=10, factor=2, skip=35)",
    "warmup(steps=2, skip=1, interval=10) -> wsd(steps=10, warmup=4, decay=3, skip=2, interval=9)",
]


@pytest.mark.parametrize("spec", SPECS)
def test_specs_give_the_rates_of_their_training(spec):
    """Specs give the rates that a training uses, from the first step to the last."""
    clock = Clock()
    scheduler = lrtrack.scheduler(sgd(), spec, total_steps=120, clock=lambda: clock.now)
    expected = trained(scheduler, 120, between=clock.tick)

    assert lrtrack.simulate(spec, 120, seconds_per_step=3.0).tolist() == expected


def test_every_kind_is_simulated():
    """The list above covers every name of the spec language."""
    assert all(any(name in spec for spec in SPECS) for name in KINDS)


def halved(epoch: int) -> float:
    """Halve the rate with each epoch."""
    return 0.5**epoch


SCHEDULERS = {
    "lambda": lambda o: ls.LambdaLR(o, [halved, functools.partial(max, 1e-3)]),
    "multiplicative": lambda o: ls.MultiplicativeLR(o, lambda epoch: 0.95),
    "chained": lambda o: ls.ChainedScheduler([ls.StepLR(o, 9), ls.ExponentialLR(o, 0.99)]),
    "chain in a chained": lambda o: ls.ChainedScheduler(
        [ls.SequentialLR(o, [ls.ConstantLR(o), ls.StepLR(o, 4)], [6])]
    ),
    "sequential": lambda o: ls.SequentialLR(
        o, [ls.LinearLR(o, 0.1), ls.ExponentialLR(o, 0.9), ls.CosineAnnealingLR(o, 20)], [5, 11]
    ),
    "restarts": lambda o: ls.CosineAnnealingWarmRestarts(o, 5, 2, eta_min=0.01),
    "swa": lambda o: SWALR(o, swa_lr=0.01, anneal_epochs=10),
    "onecycle": lambda o: ls.OneCycleLR(o, [0.3, 0.2], 60),
    "plateau": lambda o: ls.ReduceLROnPlateau(o, patience=1, min_lr=[0.01, 0.02]),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("before", [0, 1, 8])
def test_a_scheduler_is_simulated_from_where_it_is_and_left_alone(name, before):
    """A scheduler in the middle of a training is simulated for all groups, and stays unchanged."""
    scheduler = SCHEDULERS[name](sgd(0.1, 0.2))
    trained(scheduler, before)
    untouched = state(scheduler)
    rates = lrtrack.simulate(scheduler, 40)

    assert state(scheduler) == untouched
    assert rates.shape == (40, 2)
    assert rates.tolist() == trained(scheduler, 40)


def test_a_time_decay_is_simulated_from_the_time_that_has_passed():
    """The simulation of a time decay continues from the time that has passed."""
    clock = [5.0]
    scheduler = lrtrack.TimeDecayLR(sgd(), half_life=10, clock=lambda: clock[0])
    clock[0] += 20
    rates = lrtrack.simulate(scheduler, 3, seconds_per_step=10)

    assert rates[:, 0].tolist() == [0.1, 0.1 * 0.125, 0.1 * 0.0625]
    assert scheduler.seconds == 20


class Own(ls.StepLR):
    """A user's class whose step does more than torch's."""

    def step(self, epoch=None) -> None:
        """Step twice, except the first time, in the constructor."""
        if not self._is_initial:
            super().step()
        super().step()


class Wrapped:
    """A wrapper like those of other frameworks."""

    def __init__(self, scheduler) -> None:
        self.scheduler = scheduler

    def step(self) -> None:
        """Step the scheduler inside."""
        self.scheduler.step()


def test_classes_of_others_are_stepped_in_full():
    """A subclass or a wrapper with its own `step` is stepped in full."""
    own = Own(sgd(), 4, 0.5)
    expected = [0.1] * 2 + [0.05] * 2 + [0.025] * 2

    assert lrtrack.simulate(own, 6)[:, 0].tolist() == expected
    assert lrtrack.simulate(Wrapped(own), 6)[:, 0].tolist() == expected
    assert own.last_epoch == 0


def test_tensor_rates_are_those_of_the_tensor():
    """A capturable optimizer keeps its rate in 32 bits, and so does the simulation."""
    parameter = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.Adam([parameter], lr=torch.tensor(0.1))
    scheduler = ls.CosineAnnealingLR(optimizer, 20)
    rates = lrtrack.simulate(scheduler, 20)

    assert rates.tolist() == trained(scheduler, 20)


def test_a_plateau_is_told_the_metrics():
    """A plateau schedule gets the given metrics; without them, a metric that never improves."""
    metrics = [1.0, 0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4]
    spec = "plateau(patience=1, factor=0.5)"
    expected = trained(lrtrack.scheduler(sgd(), spec), 10, metrics)

    assert lrtrack.simulate(spec, 10, metrics=metrics).tolist() == expected
    assert lrtrack.simulate(spec, 5)[:, 0].tolist() == [0.1, 0.1, 0.1, 0.05, 0.05]


def test_big_parameters_are_not_copied():
    """A simulation copies the settings of the param groups, not the parameters."""

    class Uncopied(torch.nn.Parameter):
        def __deepcopy__(self, memo):
            raise AssertionError("copied")

    optimizer = torch.optim.SGD([Uncopied(torch.ones(3))], lr=0.1)
    rates = lrtrack.simulate(ls.StepLR(optimizer, 2), 4)

    assert rates[:, 0].tolist() == pytest.approx([0.1, 0.1, 0.01, 0.01])


LINK = st.sampled_from(
    ["step(steps=3, factor=0.7, lasts=N)", "cosine(steps=7, lasts=N)", "exponential(gamma=0.9, "
     "lasts=N)", "linear(steps=5, lasts=N)", "polynomial(steps=6, lasts=N)", "constant(lasts=N)",
     "cosine_restarts(steps=3, lasts=N)", "inverse_sqrt(timescale=5, lasts=N)",
     "cyclic(min_lr=0.01, max_lr=0.2, steps=3, lasts=N)", "onecycle(max_lr=1, steps=99, lasts=N)"]
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(LINK, st.integers(1, 9)), max_size=4), st.integers(1, 60))
def test_chains_are_exact(links, steps):
    """Chains are exact for any combination of schedules and any number of steps."""
    spec = " -> ".join([*(link.replace("N", str(n)) for link, n in links), "cosine(steps=40)"])

    assert lrtrack.simulate(spec, steps).tolist() == trained(lrtrack.scheduler(sgd(), spec), steps)


def test_what_a_spec_begins_with():
    """`lr` is the initial rate, and `total_steps` may exceed the number of simulated steps."""
    rates = lrtrack.simulate("linear(start=1, end=0)", 2, lr=0.4, total_steps=4)

    assert rates.tolist() == [[0.4], [pytest.approx(0.3)]]
    assert rates.dtype == np.float64


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("cosine", 0), "at least 1; got 0"),
        (("cosine", 2.5), "at least 1; got 2.5"),
        (("cosin", 9), "Did you mean 'cosine'"),
        ((7, 9), "text, a mapping or a list"),
        (("cosine", 9, {"total_steps": 2.5}), "total_steps must be a whole number of steps"),
        (("onecycle(max_lr=1, steps=3)", 9), "OneCycleLR cannot be simulated for 9 steps: Tried"),
    ],
)
def test_what_cannot_be_simulated_is_told(arguments, why):
    """A spec that cannot be simulated is refused with an error that names the argument."""
    with pytest.raises(UsageError, match=why):
        lrtrack.simulate(*arguments[:2], **dict(*arguments[2:]))


def test_options_that_make_no_sense_are_told():
    """Negative rates and times, and too few metric values, are refused."""
    with pytest.raises(UsageError, match="lr must be at least 0, got -1"):
        lrtrack.simulate("constant", 9, lr=-1)
    with pytest.raises(UsageError, match="seconds_per_step must be at least 0"):
        lrtrack.simulate("time(rate=1)", 9, seconds_per_step=-1)
    with pytest.raises(
        UsageError, match="9 steps need 8 metric values, one after each step but the last; got 7"
    ):
        lrtrack.simulate("plateau", 9, metrics=[1.0] * 7)
