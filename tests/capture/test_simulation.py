"""Copies of schedulers that are stepped as far as needed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

import lrtrack
from lrtrack.capture.simulation import Simulation


@pytest.fixture
def optimizer():
    """An optimizer with one parameter."""
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=0.1)


@pytest.mark.parametrize(
    "spec",
    ["cosine(steps=40)", "warmup(steps=7) -> cosine(steps=30)", "cosine_restarts(steps=9)",
     "step(steps=10, factor=0.5)"],
)  # fmt: skip
def test_pieces_equal_the_whole(optimizer, spec):
    """A simulation that goes on several times has the rates of one that goes on once."""
    scheduler = lrtrack.scheduler(optimizer, spec)
    simulation = Simulation(scheduler)
    for size in (1, 3, 3, 20, 21, 50):
        simulation.extend(size)

    assert simulation.size == 50
    assert np.array_equal(simulation.rates(np.arange(50)), lrtrack.simulate(scheduler, 50)[:, 0])
    assert scheduler.last_epoch == 0


def test_unknown_rates(optimizer):
    """Rates after more steps than were simulated, and before the first, are NaN."""
    simulation = Simulation(lr_scheduler.ExponentialLR(optimizer, 0.5))
    simulation.extend(3)

    assert np.array_equal(
        simulation.rates(np.array([-1, 0, 2, 3])), [np.nan, 0.1, 0.025, np.nan], equal_nan=True
    )


def test_the_end_of_a_schedule(optimizer):
    """A scheduler that refuses more steps gives the rates before its end."""
    simulation = Simulation(lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5))
    simulation.extend(100)
    simulation.extend(200)

    assert simulation.size == 5 + 1


def test_restarts_after_a_fraction_of_an_epoch() -> None:
    """Restarts of a schedule that was stepped to the middle of an epoch are those of torch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=3, T_mult=2)
    optimizer.step()
    scheduler.step(1.5)
    simulated = lrtrack.simulate(scheduler, 12)[:, 0].tolist()
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(11):
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])

    assert simulated == rates
